//! Messages made durable: as they come from many clients, in groups, and one after the other, a commit each. The difference is what waiting for
//! the disk costs; it depends on the disk, so it stands beside a bare write and sync of a message's size.
#![allow(missing_docs, clippy::unwrap_used)]

use std::fs::File;
use std::io::Write;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use uuid::Uuid;
use voxgate::store::{Appended, Done, NewMessage, Store, StoreOptions, open};

/// Messages that wait together, as those of a busy moment do.
const TOGETHER: u64 = 2_000;

const CONVERSATIONS: u64 = 50;

fn message(n: u64, request_id: Option<String>) -> NewMessage {
    NewMessage {
        conversation_id: format!("conversation-{}", n % CONVERSATIONS),
        session_id: Uuid::from_u128(u128::from(n % 20)),
        request_id,
        connection_id: Uuid::from_u128(1),
        client_id: "client".to_owned(),
        user_id: Some("user".to_owned()),
        content: format!("{{\"text\":\"{}\"}}", "x".repeat(120)),
        sent_at_ms: n,
    }
}

fn told() -> (Done<Appended>, oneshot::Receiver<u64>) {
    let (tell, told) = oneshot::channel();
    let done = Box::new(move |result: Result<Appended, _>| {
        // Only the last of a moment's is waited for.
        let _ = tell.send(result.unwrap().message_seq);
    });
    (done, told)
}

/// `TOGETHER` messages, then the wait for the last: callbacks come in order.
async fn grouped(store: &Arc<dyn Store>, named: bool) {
    let mut last = None;
    for n in 0..TOGETHER {
        let (done, told) = told();
        store.append_message(message(n, named.then(|| Uuid::now_v7().to_string())), done).unwrap();
        last = Some(told);
    }
    last.unwrap().await.unwrap();
}

async fn alone(store: &Arc<dyn Store>) {
    let (done, told) = told();
    store.append_message(message(1, None), done).unwrap();
    told.await.unwrap();
}

fn opened(runtime: &Runtime, folder: &tempfile::TempDir) -> Arc<dyn Store> {
    let url = format!("sqlite:{}", folder.path().join("bench.db").display());
    runtime.block_on(open(&url, StoreOptions::default())).unwrap()
}

fn store(c: &mut Criterion) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let store = opened(&runtime, &folder);
    let mut group = c.benchmark_group("append_message");
    group.sample_size(20);
    group.throughput(Throughput::Elements(TOGETHER));
    group.bench_function("grouped", |b| b.iter(|| runtime.block_on(grouped(&store, false))));
    group.bench_function("grouped, with a request's name", |b| b.iter(|| runtime.block_on(grouped(&store, true))));
    group.throughput(Throughput::Elements(1));
    group.bench_function("a commit each", |b| b.iter(|| runtime.block_on(alone(&store))));
    let mut file = File::create(folder.path().join("bare")).unwrap();
    group.bench_function("a bare write and sync", |b| {
        b.iter(|| {
            file.write_all(&[0; 4_096]).unwrap();
            file.sync_data().unwrap();
        });
    });
    group.finish();

    let mut group = c.benchmark_group("messages");
    group.throughput(Throughput::Elements(500));
    group.bench_function("a page of 500", |b| {
        b.iter(|| assert_eq!(runtime.block_on(store.messages("conversation-0", 0, 500)).unwrap().messages.len(), 500));
    });
    group.finish();
    runtime.block_on(store.close());
}

criterion_group!(benches, store);
criterion_main!(benches);
