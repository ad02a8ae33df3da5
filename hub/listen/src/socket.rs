//! Options of the sockets of connections.

use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::TcpStream;

/// How long a client may leave bytes unacknowledged, or its receive window closed. A client that
/// does not read its response would otherwise hold what it costs for ever.
const UNREAD_TIMEOUT: Duration = Duration::from_mins(2);

/// An option that cannot be set costs speed or memory, and no request.
pub(crate) fn configure(stream: &TcpStream) {
    // Without it, a small response waits 40 ms for the client's delayed acknowledgement.
    stream.set_nodelay(true).ok();
    let millis = u32::try_from(UNREAD_TIMEOUT.as_millis()).unwrap_or(u32::MAX);
    setsockopt(stream, sockopt::TcpUserTimeout, &millis).ok();
}
