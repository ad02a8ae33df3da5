//! Feature flags in force.

use std::collections::BTreeMap;

use mcphub_hub_wire::dataplane::{Dataplane, Revision};
use mcphub_hub_wire::flags::DEFAULTS;

/// What a config says of a known flag, or its default.
pub fn configured(config: &BTreeMap<String, bool>, flag: &str) -> bool {
    let default = || DEFAULTS.iter().any(|(known, on)| *known == flag && *on);
    config.get(flag).copied().unwrap_or_else(default)
}

/// The flags of this pod's revision: those of the data plane state over those of the config over the defaults. Known ones
/// are always there, so that "off" is exported as a number; a flag that nobody knows or sets is off.
pub fn in_force(
    config: &BTreeMap<String, bool>,
    dataplane: &Dataplane,
    revision: Option<&Revision>,
) -> BTreeMap<String, bool> {
    let live =
        revision.and_then(|revision| dataplane.revisions.get(revision)).map(|state| &state.flags);
    let known = DEFAULTS.into_iter().map(|(flag, on)| (flag.to_owned(), on));
    let said =
        config.iter().chain(live.into_iter().flatten()).map(|(flag, on)| (flag.clone(), *on));
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
        let set = [("autoCorrection", true), ("own", true), ("performanceMonitoring", false)];
        let config = set.map(|(flag, on)| (flag.to_owned(), on)).into();
        let on = |revision: Option<&str>| {
            let revision = revision.map(|text| text.parse().unwrap());
            let flags = in_force(&config, &dataplane, revision.as_ref());
            assert!(DEFAULTS.iter().all(|(flag, _)| flags.contains_key(*flag)));
            flags.into_iter().filter(|(_, on)| *on).map(|(flag, _)| flag).collect::<Vec<_>>()
        };
        assert_eq!(on(Some("0a1b2c3d")), ["enhancedErrorMessages", "own"]);
        assert_eq!(
            on(Some("ffffffff")),
            ["autoCorrection", "enhancedErrorMessages", "hierarchicalTools", "own"]
        );
        assert_eq!(on(Some("00000000")), ["autoCorrection", "enhancedErrorMessages", "own"]);
        assert_eq!(on(None), ["autoCorrection", "enhancedErrorMessages", "own"]);
    }

    // A hub that is tried standalone and then run by the operator must not answer otherwise.
    #[test]
    fn what_nobody_sets_is_as_the_resource_says() {
        let dataplane: Dataplane =
            serde_json::from_str(r#"{"schema":1,"generation":0,"revisions":{}}"#).unwrap();
        let flags = in_force(&BTreeMap::new(), &dataplane, None);
        assert_eq!(flags, DEFAULTS.map(|(flag, on)| (flag.to_owned(), on)).into());
        assert!(
            flags["enhancedErrorMessages"]
                && flags["performanceMonitoring"]
                && !flags["hierarchicalTools"]
        );
    }
}
