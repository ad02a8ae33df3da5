//! The shape of the code base: what may import what, how large files and functions may get, and
//! what is done in one place only.
#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests fail by panicking")]

#[path = "structure/checker.rs"]
mod checker;
#[path = "structure/graph.rs"]
mod graph;
#[path = "structure/source.rs"]
mod source;
#[path = "structure/workspace.rs"]
mod workspace;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use graph::Graph;
use source::File;
use workspace::{Package, cargo, files, root, shown, walk};

/// Crates that decide: no IO, no clock, no randomness.
const PURE: [&str; 7] = [
    "crds",
    "hub/catalog",
    "hub/protocol",
    "hub/routing",
    "hub/select",
    "hub/wire",
    "operator/plan",
];
const IMPURE: [&str; 8] =
    ["tokio", "axum", "reqwest", "hyper", "kube-client", "kube-runtime", "rustls", "rand"];
/// `tokenizers` has dropout for models that are trained; ours only read text.
const NEVER_CALLED: [(&str, &str); 1] = [("tokenizers", "rand")];

const LINE: usize = 100;
const FILE: usize = 600;
const FUNCTION: usize = 60;
const MARKDOWN_LINE: usize = 400;
const MARKDOWN_CELL: usize = 120;

static PACKAGES: LazyLock<Vec<Package>> = LazyLock::new(|| workspace::packages(root()));

/// Fails with the advice and all findings, one per line.
#[track_caller]
fn assert_none(advice: &str, found: &[String]) {
    assert!(found.is_empty(), "{advice}\n{}", found.join("\n"));
}

/// Where a sequence of tokens occurs in a file, as `file:line`.
fn places(file: &File, sequence: &[&str]) -> Vec<String> {
    let matches = |window: &&[source::Token]| window.iter().map(|it| &it.text).eq(sequence);
    let windows = file.tokens.windows(sequence.len()).filter(matches);
    windows.map(|window| format!("{}:{}", shown(&file.path), window[0].line)).collect()
}

fn production() -> impl Iterator<Item = &'static File> {
    PACKAGES.iter().flat_map(Package::files)
}

fn production_below(folder: &str) -> impl Iterator<Item = &'static File> {
    production().filter(move |file| file.path.starts_with(root().join(folder)))
}

#[test]
fn modules_do_not_import_each_other_in_circles() {
    let mut found = Vec::new();
    for package in &*PACKAGES {
        let Some(library) = &package.library else { continue };
        let knots = Graph::new(library).knots();
        found.extend(knots.iter().map(|knot| format!("{}: {knot}", package.name)));
    }
    let advice = "These modules cannot be read or moved alone. Move what two of them need into a \
                  file below both, or pass it as an argument.";
    assert_none(advice, &found);
}

#[test]
fn pure_crates_depend_on_nothing_that_does_io() {
    let mut found = Vec::new();
    for folder in PURE {
        let package = format!("mcphub-{}", folder.replace('/', "-"));
        // Not `cargo metadata`: it resolves the features of all members together, and the operator
        // turns on the client of `kube` that the types of the resource do without.
        let arguments = ["tree", "--offline", "--edges=normal", "--prefix=depth", "--format= {p}"];
        let tree = cargo(root(), &[&arguments[..], &["--package", &package]].concat());
        let mut chain: Vec<&str> = Vec::new();
        for line in tree.lines() {
            let mut words = line.split(' ');
            let depth = words.next().and_then(|it| it.parse().ok()).expect("a line has a depth");
            let name = words.next().expect("a line has a name");
            chain.truncate(depth);
            let by = chain.last().copied().unwrap_or_default();
            chain.push(name);
            if IMPURE.contains(&name) && !NEVER_CALLED.contains(&(by, name)) {
                found.push(chain.join(" -> "));
            }
        }
        assert_eq!(tree.split(' ').nth(1), Some(package.as_str()), "cargo printed another tree");
    }
    assert_none("Move what does IO out of the pure crate, or drop the feature.", &found);
}

#[test]
fn pure_crates_forbid_the_same_methods() {
    let forbidden = |folder: &&str| {
        let path = root().join(folder).join("clippy.toml");
        let text = std::fs::read_to_string(&path).expect("a pure crate has a clippy.toml");
        let (_, list) = text.split_once("disallowed-methods = [").expect("it forbids methods");
        let (list, _) = list.split_once("\n]").expect("the list ends");
        list.lines().map(|line| line.trim().to_owned()).collect::<BTreeSet<_>>()
    };
    let first = forbidden(&PURE[0]);
    for folder in PURE {
        assert_eq!(forbidden(&folder), first, "{folder}/clippy.toml and {}/clippy.toml", PURE[0]);
    }
    for method in ["std::time::SystemTime::now", "std::time::Instant::now", "jiff::Timestamp::now"]
    {
        assert!(first.iter().any(|line| line.contains(method)), "{method} is not forbidden");
    }
}

#[test]
fn packages_are_named_after_their_folders() {
    let expected = |it: &Package| format!("mcphub-{}", it.folder.display()).replace('/', "-");
    let wrong = PACKAGES.iter().filter(|package| package.name != expected(package));
    let found: Vec<_> = wrong.map(|it| format!("{} is {}", it.name, expected(it))).collect();
    assert_none("Rename the package or move it.", &found);
}

#[test]
fn a_module_with_children_is_a_file_beside_their_folder() {
    let found: Vec<_> = files(root(), "rs")
        .iter()
        .filter(|path| path.ends_with("mod.rs") && path.iter().any(|it| it == "src"))
        .map(|path| shown(path).to_string())
        .collect();
    assert_none("Rename x/mod.rs to x.rs.", &found);
}

// Code hosts treat such a folder as third-party code: they leave it out of searches and fold it in
// diffs.
#[test]
fn no_folder_is_named_vendor() {
    let mut found = Vec::new();
    walk(root(), &mut |path| {
        if path.ends_with("vendor") && path.is_dir() {
            found.push(shown(path).to_string());
        }
    });
    assert_none("Name the folder after what it holds.", &found);
}

#[test]
fn no_function_is_named_of() {
    let found: Vec<_> = production().flat_map(|file| places(file, &["fn", "of"])).collect();
    assert_none("Name it `new`, `from_x`, or after what it returns.", &found);
}

// A participle says what happened to a thing, and not what it is.
#[test]
fn modules_are_named_with_nouns() {
    let participles = ["asked", "given", "kept", "known", "seen", "shown", "told", "written"];
    let found: Vec<_> = PACKAGES
        .iter()
        .flat_map(|package| package.library.iter().chain(&package.programs))
        .flat_map(|it| &it.modules)
        .filter(|module| module.path.last().is_some_and(|it| participles.contains(&it.as_str())))
        .map(|module| shown(&module.file).to_string())
        .collect();
    assert_none("Name the module after what it holds.", &found);
}

#[test]
fn no_alias_shadows_a_trait_of_the_prelude() {
    let traits = ["Clone", "Copy", "Default", "Display", "From", "Into", "Iterator", "Send"];
    let mut found = Vec::new();
    for file in production() {
        for (name, end) in traits.iter().flat_map(|it| [(it, ","), (it, ";"), (it, "}")]) {
            found.extend(places(file, &["as", name, end]));
        }
    }
    assert_none("A reader takes it for the trait. Use the type's own name.", &found);
}

// `serve/upstream` writes headers too, to the servers.
#[test]
fn only_the_http_layer_of_serve_reads_headers_of_callers() {
    let may = ["hub/src/serve/http", "hub/src/serve/upstream"].map(|folder| root().join(folder));
    let below = production_below("hub/src/serve")
        .filter(|file| !may.iter().any(|folder| file.path.starts_with(folder)));
    let found: Vec<_> = below.flat_map(|file| places(file, &["HeaderMap"])).collect();
    assert_none("Read the header in serve/http, and pass what it says in the request.", &found);
}

// `axum::serve` has no time limit for the head of a request and no bound on connections.
#[test]
fn all_ports_are_served_by_one_accept_loop() {
    let found: Vec<_> =
        production().flat_map(|file| places(file, &["axum", ":", ":", "serve"])).collect();
    assert_none("Serve the port with hub/listen.", &found);
}

// When callers authenticate, each place that assumes nobody did is a hole.
#[test]
fn one_place_decides_that_a_caller_is_anonymous() {
    let calls = production_below("hub/src").flat_map(|file| places(file, &["anonymous", "(", ")"]));
    let found: Vec<_> = calls.collect();
    let advice = "Take the principal from the request.";
    assert!(found.len() == 1, "{advice}\n{}", found.join("\n"));
}

#[test]
fn one_file_of_the_hub_writes_event_streams() {
    let writes = |file: &&File| {
        let encodes = !places(file, &["sse", ":", ":", "encode"]).is_empty();
        let keeps_alive = file.tokens.iter().any(|it| it.text.ends_with(r#"":\n\n""#));
        encodes || keeps_alive
    };
    let found: Vec<_> = production_below("hub/src")
        .filter(writes)
        .map(|file| shown(&file.path).to_string())
        .collect();
    let advice =
        "Write the stream with the one type that frames events and keeps connections open.";
    assert!(found.len() == 1, "{advice}\n{}", found.join("\n"));
}

#[test]
fn observing_a_hub_does_not_write_it() {
    let operator = PACKAGES.iter().find(|it| it.name == "mcphub-operator").expect("the operator");
    let graph = Graph::new(operator.library.as_ref().expect("the operator has a library"));
    let is_below =
        |module: &usize, top: &str| graph.modules[*module].first().is_some_and(|it| it == top);
    assert!((0..graph.modules.len()).any(|it| is_below(&it, "observe")), "observe has moved");
    assert!((0..graph.modules.len()).any(|it| is_below(&it, "apply")), "apply has moved");
    let wrong = graph
        .imports
        .iter()
        .filter(|((from, to), _)| is_below(from, "observe") && is_below(to, "apply"));
    let found: Vec<_> = wrong
        .map(|((from, to), place)| {
            format!(
                "{} -> {} ({}:{})",
                graph.name(*from),
                graph.name(*to),
                shown(&place.file),
                place.line
            )
        })
        .collect();
    assert_none("Move what both need into a module of its own.", &found);
}

#[test]
fn files_have_one_subject() {
    let long = production().filter(|file| file.lines > FILE);
    let found: Vec<_> =
        long.map(|file| format!("{}: {} lines", shown(&file.path), file.lines)).collect();
    assert_none("Split the file by subject.", &found);
}

#[test]
fn functions_fit_on_a_screen() {
    let mut found = Vec::new();
    for file in production() {
        for function in file.functions.iter().filter(|it| it.lines > FUNCTION) {
            let place = format!("{}:{}", shown(&file.path), function.line);
            found.push(format!("{place}: {} has {} lines", function.name, function.lines));
        }
    }
    assert_none("Split the function into steps with names.", &found);
}

// Rustfmt leaves lines alone that it cannot break: texts, comments, and all around them.
#[test]
fn rust_lines_are_at_most_100_columns_wide() {
    let is_wide = |line: &str| line.chars().count() > LINE;
    let mut found = Vec::new();
    for path in files(root(), "rs") {
        let text = std::fs::read_to_string(&path).expect("a file is text");
        if !text.lines().any(is_wide) {
            continue;
        }
        // A raw string is a document of another language, and a break may change what it says.
        let raw = source::lines_of_raw_strings(&text);
        let numbered = text.lines().zip(1..).filter(|(line, number)| {
            is_wide(line) && !raw.iter().any(|lines| lines.contains(number))
        });
        found.extend(numbered.map(|(line, number)| {
            format!("{}:{number}: {} columns", shown(&path), line.chars().count())
        }));
    }
    assert_none("Wrap comments at 100 columns, and break texts with `\\`.", &found);
}

#[test]
fn markdown_can_be_reviewed_line_by_line() {
    let mut found = Vec::new();
    for path in files(root(), "md") {
        let text = std::fs::read_to_string(&path).expect("a file is text");
        for (number, line) in text.lines().enumerate() {
            let place = format!("{}:{}", shown(&path), number + 1);
            let columns = line.chars().count();
            if columns > MARKDOWN_LINE {
                found.push(format!("{place}: {columns} columns"));
            }
            if !line.starts_with('|') {
                continue;
            }
            let widest = line.split('|').map(|cell| cell.trim().chars().count()).max().unwrap_or(0);
            if widest > MARKDOWN_CELL {
                found.push(format!("{place}: a cell of {widest} characters"));
            }
        }
    }
    assert_none("Start a new line after each sentence; move long cells below the table.", &found);
}
