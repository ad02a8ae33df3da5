//! Which protocol version a request uses.

/// The protocol version without sessions and without `initialize`.
pub const STATELESS_VERSION: &str = "2026-07-28";
/// The protocol versions with `initialize` and sessions, newest first.
pub const STATEFUL_VERSIONS: [&str; 4] = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];
/// The version of a request that names none.
pub const DEFAULT_VERSION: &str = "2025-03-26";

/// The protocol version of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProtocolVersion {
    /// One of [`STATEFUL_VERSIONS`].
    Stateful(&'static str),
    /// [`STATELESS_VERSION`].
    Stateless,
}

impl ProtocolVersion {
    /// Whether each request stands alone, without `initialize` and session.
    pub fn is_stateless(self) -> bool {
        self == Self::Stateless
    }
}

/// What a request reveals about its protocol version.
#[derive(Debug, Clone, Copy, Default)]
pub struct VersionHints<'a> {
    /// Whether the method is `initialize`.
    pub initialize: bool,
    /// The version that its session negotiated; `None` if the session is unknown.
    pub session: Option<&'static str>,
    /// The version in the `_meta` of the body.
    pub meta: Option<&'a str>,
    /// The version in the header `MCP-Protocol-Version`.
    pub header: Option<&'a str>,
}

/// A version that the hub does not support.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("Unsupported protocol version")]
pub struct UnsupportedVersion {
    pub requested: String,
}

/// The protocol version of a request. The order matters: a widespread client sends the stateless
/// version in the header of `initialize`, and would get no session if the header counted first.
pub fn resolve(hints: VersionHints<'_>) -> Result<ProtocolVersion, UnsupportedVersion> {
    if hints.initialize {
        return Ok(ProtocolVersion::Stateful(STATEFUL_VERSIONS[0]));
    }
    if let Some(version) = hints.session {
        return Ok(ProtocolVersion::Stateful(version));
    }
    let Some(version) = hints.meta.or(hints.header) else {
        return Ok(ProtocolVersion::Stateful(DEFAULT_VERSION));
    };
    if version == STATELESS_VERSION {
        return Ok(ProtocolVersion::Stateless);
    }
    known_stateful(version)
        .map(ProtocolVersion::Stateful)
        .ok_or_else(|| UnsupportedVersion { requested: version.to_owned() })
}

/// The version in the response to `initialize`: the requested one if it is stateful, otherwise the
/// newest stateful one.
pub fn negotiate(requested: Option<&str>) -> &'static str {
    requested.and_then(known_stateful).unwrap_or(STATEFUL_VERSIONS[0])
}

/// All versions, newest first.
pub fn supported() -> impl Iterator<Item = &'static str> {
    std::iter::once(STATELESS_VERSION).chain(STATEFUL_VERSIONS)
}

fn known_stateful(version: &str) -> Option<&'static str> {
    STATEFUL_VERSIONS.into_iter().find(|known| *known == version)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const NEWEST: Result<ProtocolVersion, &str> = Ok(ProtocolVersion::Stateful("2025-11-25"));

    #[rstest]
    #[case::initialize_is_stateful_whatever_the_header_says(
        true,
        None,
        None,
        Some(STATELESS_VERSION),
        NEWEST
    )]
    #[case::initialize_is_stateful_whatever_meta_says(
        true,
        None,
        Some(STATELESS_VERSION),
        Some(STATELESS_VERSION),
        NEWEST
    )]
    #[case::a_known_session_keeps_its_version(
        false,
        Some("2025-06-18"),
        Some(STATELESS_VERSION),
        Some(STATELESS_VERSION),
        Ok(ProtocolVersion::Stateful("2025-06-18"))
    )]
    #[case::meta_comes_before_the_header(
        false,
        None,
        Some(STATELESS_VERSION),
        Some("2025-06-18"),
        Ok(ProtocolVersion::Stateless)
    )]
    #[case::then_the_header(
        false,
        None,
        None,
        Some(STATELESS_VERSION),
        Ok(ProtocolVersion::Stateless)
    )]
    #[case::a_stateful_header_without_a_session(false, None, None, Some("2025-11-25"), NEWEST)]
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
        assert_eq!(resolve(VersionHints { initialize, session, meta, header }), expected);
    }

    #[test]
    fn initialize_never_negotiates_the_stateless_version() {
        assert_eq!(negotiate(Some("2024-11-05")), "2024-11-05");
        assert_eq!(negotiate(Some(STATELESS_VERSION)), "2025-11-25");
        assert_eq!(negotiate(Some("2099-01-01")), "2025-11-25");
        assert_eq!(negotiate(None), "2025-11-25");
    }
}
