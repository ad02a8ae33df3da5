//! Prints what is generated from the types: `crdgen` the CRD as YAML, `crdgen reference` its documentation.

use std::io::Write as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    let what = std::env::args().nth(1);
    let text = match what.as_deref() {
        None | Some("crd") => match mcphub_crds::crd::yaml() {
            Ok(text) => text,
            Err(error) => return complain(&format!("the CRD cannot be written as YAML: {error}")),
        },
        Some("reference") => mcphub_crds::reference::markdown(),
        Some(other) => {
            return complain(&format!("\"{other}\" is not generated here; write crd or reference"));
        }
    };
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&format!("cannot write: {error}")),
    }
}

fn complain(message: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "crdgen: {message}");
    ExitCode::FAILURE
}
