//! Which protocol a request speaks.

/// The revision without sessions.
pub const STATELESS: &str = "2026-07-28";
/// The revisions with a handshake, newest first.
pub const STATEFUL: [&str; 4] = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];
/// What a request speaks that says nothing.
pub const ASSUMED: &str = "2025-03-26";

/// The protocol of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProtocolVersion {
    /// Handshake revisions, at this version.
    Stateful(&'static str),
    /// 2026-07-28.
    Stateless,
}

impl ProtocolVersion {
    /// Whether requests of this version stand alone: no `initialize` and no session.
    pub fn is_stateless(self) -> bool {
        self == Self::Stateless
    }
}

/// What a request shows of its protocol.
#[derive(Debug, Clone, Copy, Default)]
pub struct VersionHints<'a> {
    /// It is `initialize`.
    pub initialize: bool,
    /// Version that its session negotiated, where the session id is known.
    pub session: Option<&'static str>,
    /// Version in the body's `_meta`.
    pub meta: Option<&'a str>,
    /// Version in the header `MCP-Protocol-Version`.
    pub header: Option<&'a str>,
}

/// A version that the hub does not speak.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("Unsupported protocol version")]
pub struct UnsupportedVersion {
    /// The version asked for.
    pub requested: String,
}

/// The protocol of a request. The order is the contract: a widespread client sends the modern header on
/// `initialize`, and would get no session if the header came first.
pub fn of_request(signs: VersionHints<'_>) -> Result<ProtocolVersion, UnsupportedVersion> {
    if signs.initialize {
        return Ok(ProtocolVersion::Stateful(STATEFUL[0]));
    }
    if let Some(version) = signs.session {
        return Ok(ProtocolVersion::Stateful(version));
    }
    let Some(version) = signs.meta.or(signs.header) else {
        return Ok(ProtocolVersion::Stateful(ASSUMED));
    };
    if version == STATELESS {
        return Ok(ProtocolVersion::Stateless);
    }
    known_legacy(version)
        .map(ProtocolVersion::Stateful)
        .ok_or_else(|| UnsupportedVersion { requested: version.to_owned() })
}

/// The version that `initialize` is answered with: the one asked for where it has a handshake, else the newest that has.
pub fn negotiate(requested: Option<&str>) -> &'static str {
    requested.and_then(known_legacy).unwrap_or(STATEFUL[0])
}

/// All versions, newest first.
pub fn supported() -> impl Iterator<Item = &'static str> {
    std::iter::once(STATELESS).chain(STATEFUL)
}

fn known_legacy(version: &str) -> Option<&'static str> {
    STATEFUL.into_iter().find(|known| *known == version)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const NEWEST: Result<ProtocolVersion, &str> = Ok(ProtocolVersion::Stateful("2025-11-25"));

    #[rstest]
    #[case::initialize_is_legacy_whatever_the_header_says(
        true,
        None,
        None,
        Some(STATELESS),
        NEWEST
    )]
    #[case::initialize_is_legacy_whatever_meta_says(
        true,
        None,
        Some(STATELESS),
        Some(STATELESS),
        NEWEST
    )]
    #[case::a_known_session_keeps_its_version(
        false,
        Some("2025-06-18"),
        Some(STATELESS),
        Some(STATELESS),
        Ok(ProtocolVersion::Stateful("2025-06-18"))
    )]
    #[case::meta_comes_before_the_header(
        false,
        None,
        Some(STATELESS),
        Some("2025-06-18"),
        Ok(ProtocolVersion::Stateless)
    )]
    #[case::then_the_header(false, None, None, Some(STATELESS), Ok(ProtocolVersion::Stateless))]
    #[case::a_legacy_header_without_a_session(false, None, None, Some("2025-11-25"), NEWEST)]
    #[case::nothing_at_all(false, None, None, None, Ok(ProtocolVersion::Stateful("2025-03-26")))]
    #[case::a_version_nobody_knows(false, None, Some("1900-01-01"), None, Err("1900-01-01"))]
    fn the_version_of_a_request(
        #[case] initialize: bool,
        #[case] session: Option<&'static str>,
        #[case] meta: Option<&str>,
        #[case] header: Option<&str>,
        #[case] expected: Result<ProtocolVersion, &str>,
    ) {
        let expected = expected.map_err(|version| UnsupportedVersion { requested: version.into() });
        assert_eq!(of_request(VersionHints { initialize, session, meta, header }), expected);
    }

    #[test]
    fn a_handshake_never_ends_in_a_version_without_handshake() {
        assert_eq!(negotiate(Some("2024-11-05")), "2024-11-05");
        assert_eq!(negotiate(Some(STATELESS)), "2025-11-25");
        assert_eq!(negotiate(Some("2099-01-01")), "2025-11-25");
        assert_eq!(negotiate(None), "2025-11-25");
    }
}
