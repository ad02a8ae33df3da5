//! Which tools fit a prompt. Pure: the same input has the same answer; no clock, no chance, no IO.
//!
//! The way of a prompt: the [`dictionary`] puts it into English; [`words`] and [`wordpiece`] cut it up; the [`lexical`]
//! index, the static [`table`] and the transformer ([`encoder`]) each say how near every tool is ([`signals`]); the best
//! by any of them are candidates; [`features`] of those go through the learned [`ranker`]; the [`floor`] says how likely
//! it is that anything fits. A [`Memory`] of what earlier prompts led to joins in where there is one.

// Scores are approximate by nature; numbers of tools and terms fit in 32 bits.
#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
// Modules are private: `pub` in them is what they offer to each other, and what is exported is listed below.
#![allow(unreachable_pub)]

pub mod bench;
mod clauses;
mod compound;
mod dictionary;
mod doc;
mod encoder;
mod features;
mod floor;
mod index;
mod lexical;
mod memory;
mod models;
mod pool;
mod ranker;
mod servers;
mod signals;
mod stop;
mod table;
mod vector;
mod wordpiece;
mod words;

pub use doc::{Digest, Doc};
pub use features::{names as feature_names, statistics as statistic_names};
pub use index::{Ask, Hit, Index, Ranked, Trace};
pub use memory::Memory;
pub use models::{Error, Models, Read, Weights};
pub use vector::Vector;
