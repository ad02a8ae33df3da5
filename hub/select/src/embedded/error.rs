/// The weights cannot be used. This is a fault of the build, or of the files given to `mcp-hub eval
/// --weights`.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to read the selector's weights: {0}; see hub/models/README.md to rebuild them")]
    Weights(String),
}
