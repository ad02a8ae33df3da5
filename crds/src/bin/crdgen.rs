//! Prints what is generated from the types: `crdgen` prints the CRD as YAML, `crdgen reference` its
//! documentation.

use std::io::Write as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    let output = std::env::args().nth(1);
    let text = match output.as_deref() {
        None | Some("crd") => match mcphub_crds::crd::yaml() {
            Ok(text) => text,
            Err(error) => return fail(&format!("failed to serialize the CRD as YAML: {error}")),
        },
        Some("reference") => mcphub_crds::reference::markdown(),
        Some(other) => {
            return fail(&format!("unknown output \"{other}\"; use crd or reference"));
        }
    };
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("failed to write the output: {error}")),
    }
}

fn fail(message: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "crdgen: {message}");
    ExitCode::FAILURE
}
