//! The steps of a canary, from its launch to 100%.
//!
//! | file | what it does |
//! |---|---|
//! | [`launch`] | before the first traffic: pods Ready, self-check passed |
//! | [`step`] | one step: pods, weight, routers, bake, gates |
//! | [`standing`] | what the rules say about a step |
//! | [`promotion`] | the canary becomes stable |
//! | [`next_step`], [`pods`], [`self_check`], [`hold`], [`pause`] | what several of these need |

pub(super) mod hold;
pub(super) mod launch;
mod next_step;
pub(super) mod pause;
mod pods;
mod promotion;
pub(super) mod self_check;
mod standing;
pub(super) mod step;
