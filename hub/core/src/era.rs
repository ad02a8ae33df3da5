//! Which protocol a request speaks.

/// The revision without sessions.
pub const MODERN: &str = "2026-07-28";
/// The revisions with a handshake, newest first.
pub const LEGACY: [&str; 4] = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];
/// What a request speaks that says nothing.
pub const UNSAID: &str = "2025-03-26";

/// The protocol of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Era {
    /// Handshake revisions, at this version.
    Legacy(&'static str),
    /// 2026-07-28.
    Modern,
}

/// What a request shows of its protocol.
#[derive(Debug, Clone, Copy, Default)]
pub struct Signs<'a> {
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
pub struct Unsupported {
    /// The version asked for.
    pub requested: String,
}

/// The protocol of a request. The order is the contract: a widespread client sends the modern header on
/// `initialize`, and would get no session if the header came first.
pub fn of(signs: Signs<'_>) -> Result<Era, Unsupported> {
    if signs.initialize {
        return Ok(Era::Legacy(LEGACY[0]));
    }
    if let Some(version) = signs.session {
        return Ok(Era::Legacy(version));
    }
    let Some(version) = signs.meta.or(signs.header) else { return Ok(Era::Legacy(UNSAID)) };
    if version == MODERN {
        return Ok(Era::Modern);
    }
    known_legacy(version)
        .map(Era::Legacy)
        .ok_or_else(|| Unsupported { requested: version.to_owned() })
}

/// The version that `initialize` is answered with: the one asked for where it has a handshake, else the newest that has.
pub fn negotiate(requested: Option<&str>) -> &'static str {
    requested.and_then(known_legacy).unwrap_or(LEGACY[0])
}

/// All versions, newest first.
pub fn supported() -> impl Iterator<Item = &'static str> {
    std::iter::once(MODERN).chain(LEGACY)
}

fn known_legacy(version: &str) -> Option<&'static str> {
    LEGACY.into_iter().find(|known| *known == version)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const NEWEST: Result<Era, &str> = Ok(Era::Legacy("2025-11-25"));

    #[rstest]
    #[case::initialize_is_legacy_whatever_the_header_says(true, None, None, Some(MODERN), NEWEST)]
    #[case::initialize_is_legacy_whatever_meta_says(true, None, Some(MODERN), Some(MODERN), NEWEST)]
    #[case::a_known_session_keeps_its_version(
        false,
        Some("2025-06-18"),
        Some(MODERN),
        Some(MODERN),
        Ok(Era::Legacy("2025-06-18"))
    )]
    #[case::meta_comes_before_the_header(
        false,
        None,
        Some(MODERN),
        Some("2025-06-18"),
        Ok(Era::Modern)
    )]
    #[case::then_the_header(false, None, None, Some(MODERN), Ok(Era::Modern))]
    #[case::a_legacy_header_without_a_session(false, None, None, Some("2025-11-25"), NEWEST)]
    #[case::nothing_at_all(false, None, None, None, Ok(Era::Legacy("2025-03-26")))]
    #[case::a_version_nobody_knows(false, None, Some("1900-01-01"), None, Err("1900-01-01"))]
    fn era_of_a_request(
        #[case] initialize: bool,
        #[case] session: Option<&'static str>,
        #[case] meta: Option<&str>,
        #[case] header: Option<&str>,
        #[case] expected: Result<Era, &str>,
    ) {
        let expected = expected.map_err(|version| Unsupported { requested: version.into() });
        assert_eq!(of(Signs { initialize, session, meta, header }), expected);
    }

    #[test]
    fn a_handshake_never_ends_in_a_version_without_handshake() {
        assert_eq!(negotiate(Some("2024-11-05")), "2024-11-05");
        assert_eq!(negotiate(Some(MODERN)), "2025-11-25");
        assert_eq!(negotiate(Some("2099-01-01")), "2025-11-25");
        assert_eq!(negotiate(None), "2025-11-25");
    }
}
