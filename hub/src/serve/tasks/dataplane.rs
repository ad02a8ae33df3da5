//! Puts every new data plane state in force.

use std::sync::Arc;

use crate::serve::state::hub::Hub;

pub(super) async fn run(hub: Arc<Hub>) {
    let mut dataplane = hub.dataplane();
    while dataplane.changed().await.is_ok() {
        hub.apply_dataplane();
    }
}
