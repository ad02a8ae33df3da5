//! The pure crates know no clock, no network and no runtime: what they decide can be tested without them.
#![allow(missing_docs, clippy::expect_used, clippy::panic, reason = "a test")]

use std::process::Command;

const PURE: [&str; 7] = [
    "mcphub-crds",
    "mcphub-hub-wire",
    "mcphub-hub-protocol",
    "mcphub-hub-catalog",
    "mcphub-hub-routing",
    "mcphub-hub-select",
    "mcphub-operator-plan",
];
const IMPURE: [&str; 8] =
    ["tokio", "axum", "reqwest", "hyper", "kube-client", "kube-runtime", "rustls", "rand"];

// One `use tokio` in the planner, and its tests need a cluster and a clock.
#[test]
fn pure_crates_depend_on_nothing_that_does_io() {
    for package in PURE {
        let tree = Command::new(env!("CARGO"))
            .args([
                "tree",
                "--offline",
                "--edges",
                "normal",
                "--prefix",
                "none",
                "--format",
                "{p}",
                "--package",
                package,
            ])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .expect("cargo runs");
        assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
        let text = String::from_utf8_lossy(&tree.stdout);
        assert!(text.starts_with(package), "{text}");
        let found: Vec<_> = text
            .lines()
            .filter_map(|line| line.split(' ').next())
            .filter(|name| IMPURE.contains(name))
            .collect();
        assert_eq!(found, [""; 0], "{package}");
    }
}
