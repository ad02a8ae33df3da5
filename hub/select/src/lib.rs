//! Selects the tools that fit a prompt. Pure: the same input gives the same output, without a
//! clock, randomness or I/O.
//!
//! * [`embedded`] ranks tools in the process itself.
//! * [`llm`] is the pure part of asking a language model: questions, formats of providers and
//!   answers.

pub mod embedded;
pub mod llm;
