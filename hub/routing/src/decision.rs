//! Decides where a request goes. Every router replica decides the same from the same data.
//!
//! A session goes where its id says. Weights apply only to new sessions and to requests without a
//! session, so a changed weight moves no session.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mcphub_hub_wire::dataplane::{Dataplane, Revision, RevisionState, Role};
use sha2::{Digest as _, Sha256};

use crate::session_id::SessionClaims;

/// The serving pods that the router knows, by revision.
pub type Pods<P> = BTreeMap<Revision, Endpoints<P>>;

/// The serving pods of one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoints<P> {
    /// From `EndpointSlices`.
    Pods(Vec<P>),
    /// The revision's Service, until the router has reached the API server.
    Service(P),
}

/// What routing needs to know about a pod.
pub trait Pod {
    /// The name in the claims of its sessions.
    fn name(&self) -> &str;
    /// `false` for a terminating pod that still serves: it keeps its sessions and gets no new ones.
    fn is_ready(&self) -> bool;
    /// Requests of this router that the pod has not finished.
    fn in_flight(&self) -> usize;
}

/// What routing needs to know about a request.
#[derive(Debug, Clone, Copy)]
pub enum Request<'a> {
    /// A request of a session.
    Session(&'a SessionClaims),
    /// A request that opens a session, or needs none (stateless protocol, REST). Requests with the
    /// same `affinity` go to the same revision: the caller, or the value of a configured header.
    New {
        /// `None` assigns each request at random.
        affinity: Option<&'a [u8]>,
    },
}

/// Random numbers for one request.
#[derive(Debug, Clone, Copy)]
pub struct Draw {
    /// Selects the revision if there is no `affinity`.
    pub revision: u64,
    /// Selects one of equally busy pods.
    pub pod: u64,
}

/// Where a request goes.
#[derive(Debug, PartialEq, Eq)]
pub enum Decision<'a, P> {
    Forward {
        revision: &'a Revision,
        /// The pod, or the Service if pods are not known yet.
        pod: &'a P,
        /// The selected revision had no Ready pod, so another revision serves.
        failover: bool,
    },
    /// 404, so that the client initializes again.
    SessionGone(GoneReason<'a>),
    /// 503 with Retry-After.
    Unavailable(UnavailableReason),
}

/// Why a session is gone. Once sessions can be resumed, all but `Failed` can go to another pod.
#[derive(Debug, PartialEq, Eq)]
pub enum GoneReason<'a> {
    /// Its revision was rolled back, so its pod is not trusted.
    Failed(&'a Revision),
    /// Its revision is no longer live, or a standalone hub made the session.
    NotLive,
    /// Its pod is gone or does not serve.
    Pod(&'a Revision),
}

/// Why no pod can serve a new request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnavailableReason {
    /// No revision has weight, because the first self-check has not passed yet.
    NoWeight,
    /// No revision that may serve has a Ready pod.
    NoPod,
}

/// Decides where a request goes. `unreachable` has the pods that this request could not connect to,
/// so that a retry goes to another pod.
pub fn decide<'a, P: Pod>(
    dataplane: &'a Dataplane,
    pods: &'a Pods<P>,
    request: Request<'_>,
    draw: Draw,
    unreachable: &[String],
) -> Decision<'a, P> {
    match request {
        Request::Session(claims) => route_session(dataplane, pods, claims, unreachable),
        Request::New { affinity } => route_new(dataplane, pods, affinity, draw, unreachable),
    }
}

fn route_session<'a, P: Pod>(
    dataplane: &'a Dataplane,
    pods: &'a Pods<P>,
    claims: &SessionClaims,
    unreachable: &[String],
) -> Decision<'a, P> {
    let live =
        claims.revision.as_ref().and_then(|revision| dataplane.revisions.get_key_value(revision));
    let Some((revision, state)) = live else { return Decision::SessionGone(GoneReason::NotLive) };
    if state.role == Role::Failed {
        return Decision::SessionGone(GoneReason::Failed(revision));
    }
    let pod = pods.get(revision).and_then(|endpoints| match endpoints {
        Endpoints::Pods(pods) => pods.iter().find(|pod| pod.name() == claims.pod),
        Endpoints::Service(service) => Some(service),
    });
    match pod.filter(|pod| !unreachable.iter().any(|name| name == pod.name())) {
        Some(pod) => Decision::Forward { revision, pod, failover: false },
        None => Decision::SessionGone(GoneReason::Pod(revision)),
    }
}

fn route_new<'a, P: Pod>(
    dataplane: &'a Dataplane,
    pods: &'a Pods<P>,
    affinity: Option<&[u8]>,
    draw: Draw,
    unreachable: &[String],
) -> Decision<'a, P> {
    let point = affinity.map_or(draw.revision, |value| affinity_point(dataplane, value));
    let Some(drawn) = revision_at(dataplane, point) else {
        return Decision::Unavailable(UnavailableReason::NoWeight);
    };
    if let Some(pod) = ready_pod(pods, drawn, draw.pod, unreachable) {
        return Decision::Forward { revision: drawn, pod, failover: false };
    }
    failover_candidates(dataplane, drawn)
        .into_iter()
        .find_map(|revision| Some((revision, ready_pod(pods, revision, draw.pod, unreachable)?)))
        .map_or(Decision::Unavailable(UnavailableReason::NoPod), |(revision, pod)| {
            Decision::Forward { revision, pod, failover: true }
        })
}

/// Whether the revision gets new sessions. A role of a newer operator gets none.
fn takes_new(state: &RevisionState) -> bool {
    match state.role {
        Role::Stable | Role::Canary | Role::Previous => true,
        Role::Failed | Role::Unknown => false,
    }
}

fn canary_first(role: Role) -> u8 {
    match role {
        Role::Canary => 0,
        Role::Previous => 1,
        Role::Stable => 2,
        Role::Failed | Role::Unknown => 3,
    }
}

/// The revision whose share holds `point`, a place on a line from 0 to 2^64. The canary's share
/// starts at 0 and only grows at its end, so a caller who is on the canary at 10 % stays there at
/// 50 %.
fn revision_at(dataplane: &Dataplane, point: u64) -> Option<&Revision> {
    let mut shares: Vec<_> = dataplane
        .revisions
        .iter()
        .filter(|(_, state)| takes_new(state) && state.weight.percent() > 0)
        .map(|(revision, state)| {
            (canary_first(state.role), revision, u128::from(state.weight.percent()))
        })
        .collect();
    shares.sort_unstable();
    let total: u128 = shares.iter().map(|(_, _, weight)| weight).sum();
    let mut left = (u128::from(point) * total) >> 64;
    shares.into_iter().find_map(|(_, revision, weight)| {
        if left < weight {
            return Some(revision);
        }
        left -= weight;
        None
    })
}

/// Identifies the caller with this credential. For a JWT it is issuer and subject, because the text
/// of the token changes with every renewal and would move the caller to another revision. They are
/// not verified, because they decide only about the revision.
pub fn principal(credential: &[u8]) -> Vec<u8> {
    subject(credential).unwrap_or_else(|| credential.to_vec())
}

fn subject(credential: &[u8]) -> Option<Vec<u8>> {
    #[derive(serde::Deserialize)]
    struct Claims {
        #[serde(default)]
        iss: String,
        sub: String,
    }
    let payload = credential.split(|byte| *byte == b'.').nth(1)?;
    let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
    Some(format!("{}\n{}", claims.iss, claims.sub).into_bytes())
}

/// Where the caller is on that line. Salted with the canary, so that each canary gets different
/// callers first.
fn affinity_point(dataplane: &Dataplane, affinity: &[u8]) -> u64 {
    let canary = dataplane.revisions.iter().find(|(_, state)| state.role == Role::Canary);
    let salt = canary.map_or("", |(revision, _)| revision.as_str());
    let digest =
        Sha256::new().chain_update(salt).chain_update([0]).chain_update(affinity).finalize();
    digest.iter().take(8).fold(0, |point, byte| point << 8 | u64::from(*byte))
}

/// The revisions that serve if `drawn` cannot, best first. A canary without weight is never one of
/// them, because its self-check may not have passed.
fn failover_candidates<'a>(dataplane: &'a Dataplane, drawn: &Revision) -> Vec<&'a Revision> {
    let mut others: Vec<_> = dataplane
        .revisions
        .iter()
        .filter(|(revision, state)| *revision != drawn && takes_new(state))
        .filter(|(_, state)| state.role != Role::Canary || state.weight.percent() > 0)
        .map(|(revision, state)| (std::cmp::Reverse(canary_first(state.role)), revision))
        .collect();
    others.sort_unstable();
    others.into_iter().map(|(_, revision)| revision).collect()
}

/// The least busy Ready pod. Among equally busy ones it is random; otherwise idle routers would all
/// use the first.
fn ready_pod<'a, P: Pod>(
    pods: &'a Pods<P>,
    revision: &Revision,
    draw: u64,
    unreachable: &[String],
) -> Option<&'a P> {
    let reachable = |pod: &&P| !unreachable.iter().any(|name| name == pod.name());
    match pods.get(revision)? {
        Endpoints::Service(service) => Some(service).filter(reachable),
        Endpoints::Pods(pods) => {
            let ready: Vec<&P> =
                pods.iter().filter(|pod| pod.is_ready()).filter(reachable).collect();
            let start = (u128::from(draw) * ready.len() as u128) >> 64;
            let start = usize::try_from(start).unwrap_or(0);
            let (head, tail) = ready.split_at_checked(start)?;
            tail.iter().chain(head).min_by_key(|pod| pod.in_flight()).copied()
        }
    }
}

#[cfg(test)]
mod tests {
    use mcphub_hub_wire::dataplane::{SCHEMA, Weight};
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone, PartialEq, Eq)]
    struct TestPod {
        name: String,
        ready: bool,
        in_flight: usize,
    }

    impl Pod for TestPod {
        fn name(&self) -> &str {
            &self.name
        }
        fn is_ready(&self) -> bool {
            self.ready
        }
        fn in_flight(&self) -> usize {
            self.in_flight
        }
    }

    const OLD: &str = "aaaaaaaa";
    const NEW: &str = "bbbbbbbb";
    const OTHER: &str = "cccccccc";

    fn revision(text: &str) -> Revision {
        text.parse().unwrap()
    }

    fn dataplane(revisions: &[(&str, Role, u8)]) -> Dataplane {
        let state = |role, weight| RevisionState {
            role,
            weight: Weight::try_from(weight).unwrap(),
            flags: BTreeMap::new(),
        };
        let revisions =
            revisions.iter().map(|(hash, role, weight)| (revision(hash), state(*role, *weight)));
        Dataplane { schema: SCHEMA, generation: 1, revisions: revisions.collect() }
    }

    fn pod(name: &str) -> TestPod {
        TestPod { name: name.into(), ready: true, in_flight: 0 }
    }

    /// Two Ready pods for each revision, `<revision>-0` and `-1`.
    fn pods(revisions: &[&str]) -> Pods<TestPod> {
        let two = |hash: &str| {
            Endpoints::Pods(vec![pod(&format!("{hash}-0")), pod(&format!("{hash}-1"))])
        };
        revisions.iter().map(|hash| (revision(hash), two(hash))).collect()
    }

    fn claims(hash: &str, pod: &str) -> SessionClaims {
        SessionClaims {
            unique: [0; 16],
            revision: Some(revision(hash)),
            pod: pod.into(),
            protocol_version: "2025-11-25".into(),
            client_info: None,
            capabilities: None,
            principal: [0; 32],
            view: None,
        }
    }

    const FRESH: Request<'static> = Request::New { affinity: None };
    const DRAW: Draw = Draw { revision: 0, pod: 0 };

    fn went_to<P: Pod>(decision: &Decision<'_, P>) -> String {
        match decision {
            Decision::Forward { pod, failover: false, .. } => pod.name().to_owned(),
            Decision::Forward { pod, failover: true, .. } => format!("{} instead", pod.name()),
            Decision::SessionGone(GoneReason::Failed(_)) => "404 failed".into(),
            Decision::SessionGone(GoneReason::NotLive) => "404 not live".into(),
            Decision::SessionGone(GoneReason::Pod(_)) => "404 no pod".into(),
            Decision::Unavailable(UnavailableReason::NoWeight) => "503 no weight".into(),
            Decision::Unavailable(UnavailableReason::NoPod) => "503 no pod".into(),
        }
    }

    fn routed_session(
        dataplane: &Dataplane,
        pods: &Pods<TestPod>,
        hash: &str,
        pod: &str,
    ) -> String {
        went_to(&decide(dataplane, pods, Request::Session(&claims(hash, pod)), DRAW, &[]))
    }

    fn routed_new(dataplane: &Dataplane, pods: &Pods<TestPod>) -> String {
        went_to(&decide(dataplane, pods, FRESH, DRAW, &[]))
    }

    #[test]
    fn a_session_stays_on_its_pod_whatever_role_and_weight_its_revision_has_unless_it_failed() {
        let pods = pods(&[OLD, NEW]);
        for role in [Role::Stable, Role::Canary, Role::Previous, Role::Unknown] {
            let dataplane = dataplane(&[(OLD, role, 0), (NEW, Role::Stable, 100)]);
            assert_eq!(
                routed_session(&dataplane, &pods, OLD, "aaaaaaaa-1"),
                "aaaaaaaa-1",
                "{role:?}"
            );
        }
        let failed = dataplane(&[(OLD, Role::Failed, 0), (NEW, Role::Stable, 100)]);
        assert_eq!(routed_session(&failed, &pods, OLD, "aaaaaaaa-1"), "404 failed");
    }

    // Otherwise every replacement of a pod would end its sessions, even while it drains.
    #[test]
    fn a_terminating_pod_keeps_its_sessions_and_gets_no_new_ones() {
        let leaving = TestPod { ready: false, ..pod("aaaaaaaa-0") };
        let pods = Pods::from([(revision(OLD), Endpoints::Pods(vec![leaving, pod("aaaaaaaa-1")]))]);
        let dataplane = dataplane(&[(OLD, Role::Stable, 100)]);
        assert_eq!(routed_session(&dataplane, &pods, OLD, "aaaaaaaa-0"), "aaaaaaaa-0");
        assert_eq!(routed_new(&dataplane, &pods), "aaaaaaaa-1");
    }

    #[test]
    fn a_session_whose_pod_or_revision_is_gone_is_404() {
        let dataplane = dataplane(&[(OLD, Role::Stable, 100)]);
        assert_eq!(routed_session(&dataplane, &pods(&[OLD]), OLD, "aaaaaaaa-9"), "404 no pod");
        assert_eq!(routed_session(&dataplane, &pods(&[]), OLD, "aaaaaaaa-0"), "404 no pod");
        assert_eq!(
            routed_session(&dataplane, &pods(&[OLD, NEW]), NEW, "bbbbbbbb-0"),
            "404 not live"
        );
    }

    #[test]
    fn a_session_whose_pod_refuses_connections_is_404_and_a_new_request_goes_to_another_pod() {
        let (dataplane, pods) = (dataplane(&[(OLD, Role::Stable, 100)]), pods(&[OLD]));
        let unreachable = ["aaaaaaaa-0".to_owned()];
        let session = claims(OLD, "aaaaaaaa-0");
        let decision = decide(&dataplane, &pods, Request::Session(&session), DRAW, &unreachable);
        assert_eq!(went_to(&decision), "404 no pod");
        assert_eq!(went_to(&decide(&dataplane, &pods, FRESH, DRAW, &unreachable)), "aaaaaaaa-1");
    }

    #[test]
    fn a_selected_revision_without_ready_pods_is_replaced_by_one_that_did_not_fail() {
        let canary = dataplane(&[(OLD, Role::Stable, 0), (NEW, Role::Canary, 100)]);
        assert_eq!(routed_new(&canary, &pods(&[OLD])), "aaaaaaaa-0 instead");
        let guard = dataplane(&[(OLD, Role::Previous, 0), (NEW, Role::Stable, 100)]);
        assert_eq!(routed_new(&guard, &pods(&[OLD])), "aaaaaaaa-0 instead");
        let rolled_back = dataplane(&[(OLD, Role::Stable, 100), (NEW, Role::Failed, 0)]);
        assert_eq!(routed_new(&rolled_back, &pods(&[NEW])), "503 no pod");
    }

    // The self-check of a canary at weight 0 may have failed.
    #[test]
    fn a_canary_without_weight_is_never_a_failover() {
        let dataplane = dataplane(&[(OLD, Role::Stable, 100), (NEW, Role::Canary, 0)]);
        assert_eq!(routed_new(&dataplane, &pods(&[NEW])), "503 no pod");
    }

    #[test]
    fn before_the_first_self_check_nothing_is_served() {
        assert_eq!(
            routed_new(&dataplane(&[(OLD, Role::Stable, 0)]), &pods(&[OLD])),
            "503 no weight"
        );
        assert_eq!(routed_new(&dataplane(&[]), &pods(&[OLD])), "503 no weight");
    }

    #[test]
    fn new_requests_go_to_the_least_busy_pod_and_to_a_random_one_among_equals() {
        let busy = TestPod { in_flight: 3, ..pod("busy") };
        let pods =
            Pods::from([(revision(OLD), Endpoints::Pods(vec![busy, pod("one"), pod("two")]))]);
        let dataplane = dataplane(&[(OLD, Role::Stable, 100)]);
        let at =
            |draw| went_to(&decide(&dataplane, &pods, FRESH, Draw { revision: 0, pod: draw }, &[]));
        assert_eq!([at(0), at(u64::MAX / 2), at(u64::MAX)], ["one", "one", "two"]);
    }

    #[test]
    fn while_only_the_service_is_known_sessions_and_new_requests_go_to_it() {
        let pods = Pods::from([(revision(OLD), Endpoints::Service(pod("service")))]);
        let dataplane = dataplane(&[(OLD, Role::Stable, 100)]);
        assert_eq!(routed_session(&dataplane, &pods, OLD, "aaaaaaaa-0"), "service");
        assert_eq!(routed_new(&dataplane, &pods), "service");
    }

    // A changed hash would move stateless callers between stable and canary during a rollout.
    #[test]
    fn the_affinity_point_of_a_principal_is_pinned() {
        let dataplane = dataplane(&[(OLD, Role::Stable, 50), (NEW, Role::Canary, 50)]);
        assert_eq!(affinity_point(&dataplane, b"alice"), 12_387_690_293_274_637_763);
    }

    #[test]
    fn a_renewed_jwt_is_the_same_principal_and_another_subject_is_another() {
        let jwt = |claims: &str| {
            format!("Bearer eyJhbGciOiJSUzI1NiJ9.{}.signature", URL_SAFE_NO_PAD.encode(claims))
        };
        let of = |claims: &str| principal(jwt(claims).as_bytes());
        assert_eq!(
            of(r#"{"iss":"i","sub":"alice","exp":1}"#),
            of(r#"{"iss":"i","sub":"alice","exp":2}"#)
        );
        assert_ne!(of(r#"{"iss":"i","sub":"alice"}"#), of(r#"{"iss":"i","sub":"bob"}"#));
        assert_eq!(principal(b"Bearer key.with.dots"), b"Bearer key.with.dots");
    }

    fn any_role() -> impl Strategy<Value = Role> {
        prop::sample::select(vec![
            Role::Stable,
            Role::Canary,
            Role::Previous,
            Role::Failed,
            Role::Unknown,
        ])
    }

    proptest! {
        #[test]
        fn a_failed_or_unknown_revision_never_gets_new_requests(
            roles in [any_role(), any_role(), any_role()],
            weights in [0..=100u8, 0..=100u8, 0..=100u8],
            ready in [any::<bool>(), any::<bool>(), any::<bool>()], draw: u64,
            principal in proptest::option::of(any::<[u8; 4]>()),
        ) {
            let hashes = [OLD, NEW, OTHER];
            let live: Vec<_> = (0..3).map(|i| (hashes[i], roles[i], weights[i])).collect();
            let dataplane = dataplane(&live);
            let serving: Vec<_> = (0..3).filter(|i| ready[*i]).map(|i| hashes[i]).collect();
            let pods = pods(&serving);
            let request = Request::New { affinity: principal.as_ref().map(<[u8; 4]>::as_slice) };
            let may_serve = |i: &usize| {
                ready[*i] && match roles[*i] {
                    Role::Stable | Role::Previous => true,
                    Role::Canary => weights[*i] > 0,
                    Role::Failed | Role::Unknown => false,
                }
            };
            let has_weight = (0..3)
                .any(|i| weights[i] > 0 && !matches!(roles[i], Role::Failed | Role::Unknown));
            match decide(&dataplane, &pods, request, Draw { revision: draw, pod: draw }, &[]) {
                Decision::Forward { revision, .. } => {
                    let index = hashes.iter().position(|hash| *hash == revision.as_str()).unwrap();
                    prop_assert!(may_serve(&index));
                }
                Decision::Unavailable(_) => {
                    prop_assert!(!has_weight || !(0..3).any(|i| may_serve(&i)));
                }
                Decision::SessionGone(_) => prop_assert!(false, "no session was asked for"),
            }
        }

        #[test]
        fn a_rising_weight_moves_no_session_and_takes_no_principal_off_the_canary(
            low in 0..=100u8, rise in 0..=100u8, principal: [u8; 8], session_on_canary: bool,
        ) {
            let high = low.saturating_add(rise).min(100);
            let pods = pods(&[OLD, NEW]);
            let at = |weight| dataplane(&[(OLD, Role::Stable, 100 - weight),
                (NEW, Role::Canary, weight)]);
            let (before, after) = (at(low), at(high));
            let on = |dataplane: &Dataplane| {
                let request = Request::New { affinity: Some(&principal) };
                went_to(&decide(dataplane, &pods, request, DRAW, &[]))
            };
            if on(&before).starts_with(NEW) {
                prop_assert!(on(&after).starts_with(NEW));
            }
            let (hash,
                pod) = if session_on_canary { (NEW, "bbbbbbbb-1") } else { (OLD, "aaaaaaaa-1") };
            prop_assert_eq!(routed_session(&before, &pods, hash, pod), pod);
            prop_assert_eq!(routed_session(&after, &pods, hash, pod), pod);
        }

        #[test]
        fn the_share_of_drawn_requests_on_the_canary_is_its_weight(weight in 0..=100u8) {
            let dataplane = dataplane(&[(OLD, Role::Stable, 100 - weight),
                (NEW, Role::Canary, weight)]);
            let step = u64::MAX / 10_000;
            let count = (0..10_000)
                .filter(|i| revision_at(&dataplane, i * step + step / 2).unwrap().as_str() == NEW)
                .count();
            prop_assert_eq!(count, usize::from(weight) * 100);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        // 10,000 principals: three standard deviations are 1.5 points at 50 %.
        #[test]
        fn the_share_of_principals_on_the_canary_is_its_weight(weight in 0..=100u8, salt: u32) {
            let dataplane = dataplane(&[(OLD, Role::Stable, 100 - weight),
                (NEW, Role::Canary, weight)]);
            let count = (0..10_000u32)
                .filter(|i| {
                    let principal = [i.to_be_bytes(), salt.to_be_bytes()].concat();
                    let drawn = revision_at(&dataplane, affinity_point(&dataplane, &principal));
                    drawn.unwrap().as_str() == NEW
                })
                .count();
            let share = f64::from(u32::try_from(count).unwrap()) / 100.0;
            prop_assert!((share - f64::from(weight)).abs() < 2.5, "{share} % at weight {weight}");
        }
    }
}
