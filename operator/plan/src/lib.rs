//! The pure part of the operator: it decides what is done about one hub. No I/O, no clock, no
//! randomness.
//!
//! A reconcile takes these steps. Only the shell (`mcphub-operator`) does I/O, at the steps marked
//! with *.
//!
//! 1. * read the cluster into a [`snapshot::Snapshot`]
//! 2. [`PlanInput::read`] parses it, once
//! 3. [`PlanInput::probes`] says what else must be asked. If [`urgent_plan`] has a write that must
//!    not wait for that, * this write comes first, and the steps start again
//! 4. * ask, which gives [`probes::ProbeResults`]
//! 5. [`plan()`] decides, which gives a [`plan::Plan`]
//! 6. [`check()`] looks for what no plan may do, with code of its own
//! 7. * apply the plan, which gives [`api::Acknowledged`]
//! 8. [`status()`] derives the status from what the API server acknowledged
//! 9. * write the status
//!
//! The modules, from the lowest to the highest:
//!
//! * [`api`], [`next`], [`snapshot`], [`probes`]: objects, writes, and what is read and asked.
//! * [`rollout`]: the engine. It decides which revisions live, and their roles, weights and flags.
//! * [`spec`]: from the spec to what is built, or to what is wrong with it.
//! * `objects`: the builders, one file per kind of object.
//! * [`revisions`]: what a ControllerRevision records.
//! * `input`, `status`, [`plan`](mod@plan), `planner`, [`check`](mod@check): the steps above.

pub mod api;
pub mod check;
mod input;
pub mod next;
mod objects;
pub mod plan;
mod planner;
pub mod probes;
pub mod revisions;
pub mod rollout;
pub mod snapshot;
pub mod spec;
mod status;

pub use self::check::check;
pub use self::input::PlanInput;
pub use self::planner::{plan, urgent_plan};
pub use self::status::{StatusDraft, status};
