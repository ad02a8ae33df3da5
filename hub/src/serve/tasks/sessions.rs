//! Ends idle sessions.

use std::sync::Arc;
use std::time::Duration;

use crate::serve::state::hub::Hub;

const PERIOD: Duration = Duration::from_secs(10);

pub(super) async fn run(hub: Arc<Hub>) {
    let mut period = tokio::time::interval(PERIOD);
    loop {
        period.tick().await;
        hub.expire_sessions();
    }
}
