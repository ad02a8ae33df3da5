//! Tests with the tools of real servers: which mistakes are corrected, and whether vendors accept
//! the definitions of hierarchical mode. The data is not part of the project: `MCPHUB_DATA` names
//! its folder. Without it, these tests print that and pass.

// Only tests read files and the environment.
#![allow(clippy::disallowed_methods, clippy::print_stdout, clippy::unwrap_used)]

mod calls;
mod correction;
mod data;
mod mutations;
mod vendors;
