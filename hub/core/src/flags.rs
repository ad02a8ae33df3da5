//! Feature flags in force.

use std::collections::BTreeMap;

use mcphub_wire::dataplane::{Dataplane, Revision};

/// Flags that the hub knows; each is always exported, so that "off" is a number.
pub const KNOWN: [&str; 5] = [
    "hierarchicalTools",
    "enumDescriptionsValidation",
    "autoCorrection",
    "enhancedErrorMessages",
    "performanceMonitoring",
];

/// The flags of this pod's revision: those of the data plane state over those of the config, all else off.
pub fn in_force(
    config: &BTreeMap<String, bool>,
    dataplane: &Dataplane,
    revision: Option<&Revision>,
) -> BTreeMap<String, bool> {
    let live = revision.and_then(|revision| dataplane.revisions.get(revision)).map(|state| &state.flags);
    let known = KNOWN.iter().map(|flag| ((*flag).to_owned(), false));
    let said = config.iter().chain(live.into_iter().flatten()).map(|(flag, on)| (flag.clone(), *on));
    known.chain(said).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    // A flag rollback is a change of these numbers in a running pod; read from another revision it would not work.
    #[test]
    fn the_live_flags_of_the_own_revision_win_over_the_config() {
        let dataplane: Dataplane = serde_json::from_str(
            r#"{"schema":1,"generation":2,"revisions":{
                "0a1b2c3d":{"role":"canary","weight":10,"flags":{"autoCorrection":false}},
                "ffffffff":{"role":"stable","weight":90,"flags":{"autoCorrection":true,"hierarchicalTools":true}}}}"#,
        )
        .unwrap();
        let config = BTreeMap::from([("autoCorrection".to_owned(), true), ("own".to_owned(), true)]);
        let on = |revision: Option<&str>| {
            let revision = revision.map(|text| text.parse().unwrap());
            let flags = in_force(&config, &dataplane, revision.as_ref());
            assert!(KNOWN.iter().all(|flag| flags.contains_key(*flag)));
            flags.into_iter().filter(|(_, on)| *on).map(|(flag, _)| flag).collect::<Vec<_>>()
        };
        assert_eq!(on(Some("0a1b2c3d")), ["own"]);
        assert_eq!(on(Some("ffffffff")), ["autoCorrection", "hierarchicalTools", "own"]);
        assert_eq!(on(Some("00000000")), ["autoCorrection", "own"]);
        assert_eq!(on(None), ["autoCorrection", "own"]);
    }
}
