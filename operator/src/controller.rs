//! The queue of one scope: who is to be reconciled, and how many at a time.

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
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::lease::Election;
use crate::reconcile::{Context, again, reconcile};
use crate::stores::{HubName, Scope, Stores};

/// Events come in bursts: one write of ours is followed by several of the built-in controllers.
const DEBOUNCE: Duration = Duration::from_millis(10);

/// Reconciles the hubs of one scope until `stop`, and then lets those that run finish.
pub(crate) async fn run(
    client: Client,
    scope: Scope,
    context: Arc<Context>,
    concurrency: u16,
    stop: CancellationToken,
) {
    let (reader, writer) = store::<McpHub>();
    let touched = context.stores.watch(&client, &scope, &context.metrics, writer);
    let forgetting = context.clone();
    let touched = touched.inspect(move |name| forget_if_gone(name, &forgetting));
    let all = all_when_won(context.election.clone(), context.stores.clone());
    let queue = stream::select(touched, all)
        .map(|hub| Ok::<_, Never>(ObjectRef::<McpHub>::new(&hub.name).within(&hub.namespace)))
        .take_until(stop.cancelled_owned());
    let config = Config::default().debounce(DEBOUNCE).concurrency(concurrency);
    let spawned =
        |hub, context| CancelableJoinHandle::spawn(reconcile(hub, context), &Handle::current());
    applier(spawned, again, context, reader, Box::pin(queue), config)
        .for_each(|result| {
            // A hub that is gone, or an error that `again` has told of.
            if let Err(controller::Error::RunnerError(error)) = result {
                warn!(error = %error, "the queue has stopped");
            }
            ready(())
        })
        .await;
}

/// Every hub, each time that a leadership begins: a follower has let all events pass.
fn all_when_won(election: Election, stores: Arc<Stores>) -> impl Stream<Item = HubName> + Send {
    let terms = stream::unfold((election, None), |(election, known)| async move {
        let term = election.won(known).await?;
        Some(((), (election, Some(term))))
    });
    terms.then(move |()| all(stores.clone())).flat_map(stream::iter)
}

async fn all(stores: Arc<Stores>) -> Vec<HubName> {
    stores.synced().await;
    stores.hubs.hubs()
}

fn forget_if_gone(name: &HubName, context: &Context) {
    if context.stores.hubs.get(&name.namespace, &name.name).is_none()
        && context.stores.hubs.is_synced()
    {
        context.stores.references.forget(name);
        context.backoff.succeeded(name);
        context.observer.read.again(name);
        context.writer.secrets.forget(&name.namespace);
        context.writer.contest.forget(&name.namespace);
    }
}

#[derive(Debug, thiserror::Error)]
enum Never {}
