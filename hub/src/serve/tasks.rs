//! The loops that keep the state up to date in the background.

pub mod categories;
