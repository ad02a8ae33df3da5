//! Against the definitions of real servers: what correction repairs, and whether vendors take what
//! hierarchical mode shows. The data is not part of the project: `MCPHUB_DATA` names its folder,
//! and without it these tests say so and pass.

// files and environment are read by tests only
#![allow(clippy::disallowed_methods, clippy::print_stdout, clippy::unwrap_used)]

mod calls;
mod correction;
mod data;
mod mutations;
mod vendors;
