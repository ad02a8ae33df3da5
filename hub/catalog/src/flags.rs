//! The feature flags in force.

use std::collections::BTreeMap;

use mcphub_hub_wire::dataplane::{Dataplane, Revision};
use mcphub_hub_wire::flags::DEFAULTS;

/// The value of a flag in a config, or its default. An unknown flag is off.
pub fn configured(config: &BTreeMap<String, bool>, flag: &str) -> bool {
    let default = || DEFAULTS.iter().any(|(known, on)| *known == flag && *on);
    config.get(flag).copied().unwrap_or_else(default)
}

/// The flags of this pod's revision. Those of `dataplane.json` override those of the config, and
/// these the defaults. All known flags are in the result, so that a metric exists for those that
/// are off.
pub fn effective(
    config: &BTreeMap<String, bool>,
    dataplane: &Dataplane,
    revision: Option<&Revision>,
) -> BTreeMap<String, bool> {
    let live =
        revision.and_then(|revision| dataplane.revisions.get(revision)).map(|state| &state.flags);
    let known = DEFAULTS.into_iter().map(|(flag, on)| (flag.to_owned(), on));
    let set = config.iter().chain(live.into_iter().flatten()).map(|(flag, on)| (flag.clone(), *on));
    known.chain(set).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    // A rollback of flags changes dataplane.json under a running pod; the pod must read its own
    // revision.
    #[test]
    fn the_flags_of_the_own_revision_in_dataplane_json_override_the_config() {
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
            let flags = effective(&config, &dataplane, revision.as_ref());
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

    // A hub that runs standalone and one that the operator runs must behave the same.
    #[test]
    fn a_flag_that_nobody_sets_has_the_default_of_the_resource() {
        let dataplane: Dataplane =
            serde_json::from_str(r#"{"schema":1,"generation":0,"revisions":{}}"#).unwrap();
        let flags = effective(&BTreeMap::new(), &dataplane, None);
        assert_eq!(flags, DEFAULTS.map(|(flag, on)| (flag.to_owned(), on)).into());
        assert!(
            flags["enhancedErrorMessages"]
                && flags["performanceMonitoring"]
                && !flags["hierarchicalTools"]
        );
    }
}
