//! Which revisions are kept, and what their names stand for.

use super::cluster::{Cluster, SPEC};

const DAY: i64 = 24 * 3600;

/// A spec that differs from others by this number.
fn spec(change: u32) -> String {
    format!(
        "{SPEC}\nstartupTimeout: {change}s\nrollout: {{historyLimit: 4, fastRollback: 2, \
         guard: 1s, steps: [{{traffic: 100}}]}}"
    )
}

/// Carries out the spec until nothing moves any more.
fn roll_out(cluster: &mut Cluster, spec: &str) {
    cluster.set_spec(spec);
    cluster.settle();
    cluster.pass(DAY);
    cluster.settle();
}

// An image updater can make ten bad revisions in a row, and the outage comes with the eleventh.
#[test]
fn failed_attempts_push_no_revision_out_that_a_fast_rollback_may_need() {
    let mut cluster = Cluster::settled(&spec(10));
    let mut promoted = vec![cluster.serving()];
    for change in 11..13 {
        roll_out(&mut cluster, &spec(change));
        promoted.push(cluster.serving());
    }
    cluster.healthy = false;
    for change in 20..26 {
        roll_out(&mut cluster, &spec(change));
    }
    assert_eq!(promoted.last(), Some(&cluster.serving()), "no failed revision serves");
    for revision in &promoted {
        let name = format!("team-r-{revision}");
        assert!(cluster.snapshot.objects.controller_revisions.contains_key(&name), "{name}");
    }
    cluster.healthy = true;
    // With steps, the revision would wait for a person.
    roll_out(
        &mut cluster,
        &spec(10).replace("traffic: 100", "traffic: 1, pause: true}, {traffic: 100"),
    );
    assert_eq!(cluster.serving(), promoted[0], "{:?}", cluster.status().conditions);
}

/// A spec with another server than [`SPEC`].
const OTHER: &str = "servers: [{name: other, remote: {url: 'https://other.example.com/mcp'}}]";

// The name of a revision has eight digits, so two specs can get the same one.
#[test]
fn a_revision_whose_name_another_content_has_gets_another_name() {
    let mut alone = Cluster::settled(SPEC);
    roll_out(&mut alone, OTHER);
    let name = format!("team-r-{}", alone.serving());
    let mut cluster = Cluster::settled(SPEC);
    let stable = cluster.serving();
    let records = &mut cluster.snapshot.objects.controller_revisions;
    let mut same_name = records[&format!("team-r-{stable}")].clone();
    same_name.metadata.name = Some(name.clone());
    records.insert(name.clone(), same_name.clone());
    roll_out(&mut cluster, OTHER);
    assert_ne!(cluster.serving(), stable);
    let serving = format!("team-r-{}", cluster.serving());
    assert_ne!(serving, name);
    let config = cluster.snapshot.objects.config_maps[&serving].data.clone().expect("a config");
    assert!(config.values().any(|text| text.contains("https://other.example.com/mcp")));
    let data = |name: &String| cluster.snapshot.objects.controller_revisions[name].data.clone();
    assert_eq!(data(&name), same_name.data, "the kept revision stays what it is");
    let plan = cluster.plan();
    assert!(!cluster.changes(&plan));
}
