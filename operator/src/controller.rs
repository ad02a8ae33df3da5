//! The work queue of one scope: which hubs to reconcile, and how many at a time.

use std::convert::Infallible;
use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt as _, stream};
use kube::Client;
use kube::runtime::applier;
use kube::runtime::controller::{self, Config};
use kube::runtime::reflector::{ObjectRef, store};
use kube::runtime::utils::CancelableJoinHandle;
use mcphub_crds::McpHub;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::lease::Election;
use crate::reconcile::{Context, error_policy, reconcile};
use crate::stores::{HubName, Scope, Stores};

/// Events come in bursts, because built-in controllers follow each of our writes with several of
/// theirs.
const DEBOUNCE: Duration = Duration::from_millis(10);

/// Reconciles the hubs of one scope until `stop` is cancelled. Then waits for the reconciles in
/// progress.
pub(crate) async fn run(
    client: Client,
    scope: Scope,
    context: Arc<Context>,
    mut answered: mpsc::Receiver<HubName>,
    concurrency: u16,
    stop: CancellationToken,
) {
    let (reader, writer) = store::<McpHub>();
    let changed = context.stores.watch(&client, &scope, &context.metrics, writer);
    let cleanup = context.clone();
    let changed = changed.inspect(move |name| forget_if_deleted(name, &cleanup));
    let all = all_on_new_term(context.election.clone(), context.stores.clone());
    let answered = stream::poll_fn(move |context| answered.poll_recv(context));
    let queue = stream::select(stream::select(changed, all), answered)
        .map(|hub| Ok::<_, Infallible>(ObjectRef::<McpHub>::new(&hub.name).within(&hub.namespace)))
        .take_until(stop.cancelled_owned());
    let config = Config::default().debounce(DEBOUNCE).concurrency(concurrency);
    let spawn =
        |hub, context| CancelableJoinHandle::spawn(reconcile(hub, context), &Handle::current());
    applier(spawn, error_policy, context, reader, Box::pin(queue), config)
        .for_each(|result| {
            // Other errors are a deleted hub, or a failed reconcile that the error policy has
            // logged.
            if let Err(controller::Error::RunnerError(error)) = result {
                warn!(error = %error, "the work queue has stopped");
            }
            ready(())
        })
        .await;
}

/// Every hub, at the start of each leadership, because a follower ignores the events that it gets.
fn all_on_new_term(election: Election, stores: Arc<Stores>) -> impl Stream<Item = HubName> + Send {
    let terms = stream::unfold((election, None), |(election, last)| async move {
        let term = election.new_term(last).await?;
        Some(((), (election, Some(term))))
    });
    terms.then(move |()| all(stores.clone())).flat_map(stream::iter)
}

async fn all(stores: Arc<Stores>) -> Vec<HubName> {
    stores.synced().await;
    stores.hubs.hubs()
}

fn forget_if_deleted(name: &HubName, context: &Context) {
    if context.stores.hubs.get(&name.namespace, &name.name).is_none()
        && context.stores.hubs.is_synced()
    {
        context.stores.references.forget(name);
        context.backoff.reset(name);
        context.observer.runtime_reads.invalidate(name);
        context.observer.queries.forget(name);
        context.writer.secrets.forget(&name.namespace);
        context.reporter.forget(name);
        context.writer.conflicts.forget(&name.namespace);
    }
}
