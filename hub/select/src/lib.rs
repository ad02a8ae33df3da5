//! Which tools fit a prompt. Pure: the same input gives the same output, without a clock, randomness or I/O.
//!
//! * [`embedded`]: ranking in the process itself, by words, vectors and a learned ranker.
//! * [`llm`]: what a language model is asked, and what of its answer counts.

pub mod embedded;
pub mod llm;
