//! Spans of `tracing` across awaits, unmodified: a span is entered for each poll of its future, and left after it.

#[path = "common/kernels.rs"]
mod kernels;

use kernels::{in_memory_with_faults, on_the_system};
use readily::io::UnixStream;
use readily::{gather, spawn, yield_now};
use std::sync::{Arc, Mutex};
use tracing::subscriber::set_default;
use tracing::{Event, Instrument, Subscriber, info, info_span};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::{LookupSpan, Registry};

/// Collects the names of the spans in which each event occurred, from the root.
#[derive(Clone, Default)]
struct Scopes(Arc<Mutex<Vec<Vec<&'static str>>>>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Scopes {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let scope = context.event_scope(event);
        let spans = scope.into_iter().flat_map(|scope| scope.from_root());
        let names = spans.map(|span| span.name()).collect();
        self.0.lock().unwrap().push(names);
    }
}

/// Sends and receives a byte, which yields to the other side, and reports it.
async fn play(stream: UnixStream, begins: bool) {
    for _ in 0..20 {
        if begins {
            stream.write_all(b"x").await.unwrap();
            info!("sent");
            stream.read(&mut [0; 1]).await.unwrap();
        } else {
            stream.read(&mut [0; 1]).await.unwrap();
            info!("received");
            stream.write_all(b"x").await.unwrap();
        }
        yield_now().instrument(info_span!("inner")).await;
        async { info!("within") }
            .instrument(info_span!("inner"))
            .await;
    }
}

/// Two tasks that run by turns, each in a span of its own, and one without a span.
async fn players() {
    let scopes = Scopes::default();
    let _default = set_default(Registry::default().with(scopes.clone()));
    let (ours, theirs) = UnixStream::pair().unwrap();
    let white = spawn(play(ours, true).instrument(info_span!("white")));
    let black = spawn(play(theirs, false).instrument(info_span!("black")));
    // Between the polls of the two no span is entered.
    let beside = spawn(async {
        for _ in 0..20 {
            info!("beside");
            yield_now().await;
        }
    });
    let (white, black, beside) = gather((white, black, beside)).await;
    assert!(white.is_ok() && black.is_ok() && beside.is_ok());
    let scopes = scopes.0.lock().unwrap();
    let count = |scope: &[&str]| scopes.iter().filter(|found| *found == scope).count();
    assert_eq!(count(&[]), 20);
    for name in ["white", "black"] {
        for scope in [&[name][..], &[name, "inner"]] {
            assert_eq!(count(scope), 20);
        }
    }
    // They did run by turns.
    let first = |name| scopes.iter().position(|scope| scope.first() == Some(&name));
    let last = |name| {
        scopes
            .iter()
            .rposition(|scope| scope.first() == Some(&name))
    };
    assert!(first("black") < last("white") && first("white") < last("black"));
}

#[test]
fn each_event_occurs_in_the_spans_of_its_task_on_the_system_and_with_the_faults_of_100_seeds() {
    on_the_system(players());
    in_memory_with_faults(players);
}
