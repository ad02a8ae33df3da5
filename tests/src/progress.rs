//! What a long step is doing, on stderr, at least every ten seconds.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Under ten seconds, so that lines come in time on a busy machine too.
const EVERY: Duration = Duration::from_secs(8);

/// One line of progress.
pub(crate) fn print(line: &str) {
    eprintln!("cluster: {line}");
}

/// How far a step is, in words such as `213 of 430 crates`. Cheap to clone; all clones are the
/// same.
#[derive(Debug, Clone, Default)]
pub(crate) struct HowFar(Arc<Mutex<String>>);

impl HowFar {
    pub(crate) fn set(&self, text: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }

    pub(crate) fn get(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Runs a step and prints a line every few seconds until it ends: what it does, how far it is, for
/// how long.
pub(crate) async fn while_running<T>(
    what: &str,
    how_far: &HowFar,
    step: impl Future<Output = T>,
) -> T {
    report(EVERY, &print, what, how_far, step).await
}

async fn report<T>(
    every: Duration,
    print: &impl Fn(&str),
    what: &str,
    how_far: &HowFar,
    step: impl Future<Output = T>,
) -> T {
    let started = Instant::now();
    let mut step = std::pin::pin!(step);
    loop {
        match tokio::time::timeout(every, &mut step).await {
            Ok(result) => return result,
            Err(_) => print(&line(what, &how_far.get(), started.elapsed())),
        }
    }
}

fn line(what: &str, how_far: &str, elapsed: Duration) -> String {
    let comma = if how_far.is_empty() { "" } else { ", " };
    format!("{what}: {how_far}{comma}{} s", elapsed.as_secs())
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_step_that_takes_long_is_reported_until_it_ends() {
        let (printed, mut lines) = mpsc::unbounded_channel::<String>();
        let print = |line: &str| printed.send(line.to_owned()).unwrap();
        let how_far = HowFar::default();
        let step = async {
            assert_eq!(lines.recv().await.unwrap(), "building: 0 s");
            how_far.set("2 of 3 crates".into());
            let mut line = lines.recv().await.unwrap();
            while line == "building: 0 s" {
                // Printed before the step had set how far it is.
                line = lines.recv().await.unwrap();
            }
            assert_eq!(line, "building: 2 of 3 crates, 0 s");
            "done"
        };
        let every = Duration::from_millis(1);
        assert_eq!(report(every, &print, "building", &how_far, step).await, "done");
    }

    #[tokio::test]
    async fn a_step_that_ends_at_once_is_not_reported() {
        let print = |line: &str| panic!("printed {line}");
        let how_far = HowFar::default();
        assert_eq!(report(EVERY, &print, "building", &how_far, async { 1 }).await, 1);
    }
}
