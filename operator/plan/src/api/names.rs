//! Names of a hub's objects. The CRD limits the name of a hub to 24 characters, so that all of
//! these fit into 63 characters.

use mcphub_hub_wire::dataplane::Revision;

/// The Service that users call, and the ServiceAccount of hub pods.
pub fn hub(hub: &str) -> String {
    hub.to_owned()
}

/// The Deployment, ServiceAccount and other objects of the router.
pub fn router(hub: &str) -> String {
    format!("{hub}-router")
}

pub fn runtime(hub: &str) -> String {
    format!("{hub}-runtime")
}

/// The ConfigMap with what hub pods have learned, and the Lease of the pod that merges into it.
pub fn learned(hub: &str) -> String {
    format!("{hub}-learned")
}

pub fn keys(hub: &str) -> String {
    format!("{hub}-keys")
}

pub fn revision(hub: &str, revision: &Revision) -> String {
    format!("{hub}-r-{revision}")
}

/// All objects of one container server. `hash` is the hash of its rendered template.
pub fn server(hub: &str, server: &str, hash: &str) -> String {
    let cut: String = server.chars().take(24).collect();
    format!("{hub}-s-{cut}-{hash}")
}

/// The revision that an object with this name belongs to.
pub fn revision_of(hub: &str, name: &str) -> Option<Revision> {
    name.strip_prefix(hub)?.strip_prefix("-r-")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    // With one more character the API server would reject every object of such a hub.
    #[test]
    fn the_longest_names_fit_in_a_label() {
        let hub = "h".repeat(24);
        assert_eq!(server(&hub, &"s".repeat(63), "0a1b2c3d").len(), 60);
        assert_eq!(revision(&hub, &"0a1b2c3d".parse().unwrap()).len(), 35);
    }

    #[test]
    fn a_revision_is_read_from_the_names_of_its_objects_only() {
        assert_eq!(revision_of("team", "team-r-0a1b2c3d"), "0a1b2c3d".parse().ok());
        assert_eq!(revision_of("team", "team-router"), None);
        assert_eq!(revision_of("team", "other-r-0a1b2c3d"), None);
    }
}
