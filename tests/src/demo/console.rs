//! What the demo prints: stages and lines, each with the time since its start.

use std::io::Write as _;
use std::time::Instant;

/// The output of one run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Console {
    started: Instant,
}

impl Console {
    /// A console whose clock starts now.
    pub(super) fn start() -> Self {
        Self { started: Instant::now() }
    }

    /// Seconds since the start.
    pub(super) fn seconds(self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// Prints the title of a stage.
    pub(super) fn stage(self, title: &str) {
        write(&format!("\n[{:>6.1} s] == {title}", self.seconds()));
    }

    /// Prints a line of the stage.
    pub(super) fn line(self, text: &str) {
        write(&format!("[{:>6.1} s]    {text}", self.seconds()));
    }

    /// Prints the output of another program.
    #[allow(clippy::unused_self, reason = "reads like the other two")]
    pub(super) fn quote(self, text: &str) {
        for line in text.trim_end().lines() {
            write(&format!("             | {}", line.trim_start()));
        }
    }
}

fn write(line: &str) {
    // A closed pipe must not end the run before the cluster has been removed.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}
