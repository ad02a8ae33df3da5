//! The state that all requests of a hub share.
//!
//! [`hub`] holds all of it. A [`snapshot`] is one immutable version of config, servers and catalog;
//! a [`caller_view`] is what one caller sees of it. [`sessions`] are the sessions of this pod, each
//! with its [`additions`]. [`in_flight`] bounds concurrent requests, [`validation`] keeps compiled
//! schemas, [`llm_categories`] keeps answers of a language model.

pub mod additions;
pub mod caller_view;
pub mod hub;
pub mod in_flight;
pub mod llm_categories;
pub mod sessions;
pub mod snapshot;
pub mod validation;
