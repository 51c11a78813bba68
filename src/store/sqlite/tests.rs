//! The contract over SQLite, and what only a file can do: be locked, fill up, be damaged, outlive a kill.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection, Row, query};

use crate::resilience::{BreakerSettings, Breakers};
use crate::store::contract::{Place, append, ask, message, store_contract};
use crate::store::{Appended, Owner, Store, StoreError, StoreOptions, open};

fn place() -> Place {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("below/voxgate.db").display());
    Place { url, _keep: Box::new(folder) }
}

store_contract!(place);

impl Place {
    fn file(&self) -> PathBuf {
        PathBuf::from(self.url.strip_prefix("sqlite:").unwrap())
    }
}

/// Another program's connection to the file.
async fn stranger(file: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(file).busy_timeout(Duration::from_secs(5)).connect().await.unwrap()
}

fn impatient() -> StoreOptions {
    StoreOptions { lock_wait_ms: 50, ..StoreOptions::default() }
}

#[tokio::test]
async fn a_lock_that_another_holds_is_told_and_got_over() {
    let place = place();
    let store = place.open_with(impatient()).await;
    append(&store, message("c", "1")).await;
    let mut other = stranger(&place.file()).await;
    query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();

    let (first, second) = tokio::join!(
        ask(|done| store.append_message(message("c", "lost"), done)),
        ask(|done| store.append_message(message("c", "lost"), done))
    );
    let locked = StoreError::Locked { waited_ms: 50 };
    assert_eq!((first, second), (Err(locked.clone()), Err(locked.clone())));
    assert!(locked.is_retryable());
    let status = store.status();
    assert!(!status.healthy && status.last_error.is_some_and(|e| e.contains("locked")));
    assert_eq!(store.ping().await, Err(locked));
    assert_eq!(store.last_message_seq("c").await, Ok(1), "reading goes on");

    query("ROLLBACK").execute(&mut other).await.unwrap();
    assert_eq!(append(&store, message("c", "2")).await, Appended { message_seq: 2, duplicate: false });
    assert!(store.status().healthy);
    other.close().await.unwrap();
    store.close().await;
}

#[tokio::test]
async fn a_store_that_fails_too_often_is_left_alone_and_comes_back_by_itself() {
    let place = place();
    let open_for = std::time::Duration::from_millis(200);
    let breakers = Breakers::new(BreakerSettings { failures_max: 3, open_for });
    let store = place.open_with(StoreOptions { breaker: Some(breakers.get("store")), ..impatient() }).await;
    let mut other = stranger(&place.file()).await;
    query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    for _ in 0..3 {
        assert!(matches!(
            ask(|done| store.append_message(message("c", "x"), done)).await,
            Err(StoreError::Locked { .. })
        ));
    }
    let refused = ask(|done| store.append_message(message("c", "x"), done)).await;
    assert!(matches!(refused, Err(StoreError::LeftAlone { retry_after_ms: 1..=200 })), "{refused:?}");
    assert!(!breakers.all_closed());
    query("ROLLBACK").execute(&mut other).await.unwrap();
    let kept = loop {
        match ask(|done| store.append_message(message("c", "x"), done)).await {
            Ok(kept) => break kept,
            Err(StoreError::LeftAlone { retry_after_ms }) => {
                tokio::time::sleep(std::time::Duration::from_millis(retry_after_ms)).await;
            }
            Err(other) => panic!("{other}"),
        }
    };
    assert_eq!((kept.message_seq, breakers.all_closed(), store.status().healthy), (1, true, true));
    other.close().await.unwrap();
    store.close().await;
}

#[tokio::test]
async fn a_lock_that_is_given_back_in_time_is_not_noticed() {
    let place = place();
    let store = place.open().await;
    let mut other = stranger(&place.file()).await;
    query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let (appended, rolled_back) =
        tokio::join!(append(&store, message("c", "1")), async { query("ROLLBACK").execute(&mut other).await });
    rolled_back.unwrap();
    assert_eq!(appended.message_seq, 1);
    other.close().await.unwrap();
    store.close().await;
}

#[tokio::test]
async fn a_full_disk_is_told_and_got_over() {
    let place = place();
    let bound = StoreOptions { bytes_max: Some(256 * 1024), ..StoreOptions::default() };
    let store = place.open_with(bound).await;
    let large = "x".repeat(20_000);
    let mut kept = 0;
    let error = loop {
        match ask(|done| store.append_message(message("c", &large), done)).await {
            Ok(appended) => kept = appended.message_seq,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::Full { .. }) && error.is_retryable(), "{error}");
    assert!(kept > 3 && !store.status().healthy, "{kept} were kept");
    assert_eq!(store.messages("c", 0, 100).await.unwrap().messages.len() as u64, kept, "what was kept stays readable");

    // Somebody makes room.
    let mut other = stranger(&place.file()).await;
    query("DELETE FROM messages WHERE seq < 3").execute(&mut other).await.unwrap();
    other.close().await.unwrap();
    assert_eq!(append(&store, message("c", &large)).await, Appended { message_seq: kept + 1, duplicate: false });
    assert!(store.status().healthy);
    store.close().await;
}

#[tokio::test]
async fn a_file_that_is_gone_keeps_nothing_until_it_is_back() {
    let place = place();
    let store = place.open().await;
    append(&store, message("c", "1")).await;
    let (here, elsewhere) = (place.file(), place.file().with_extension("moved"));
    fs::rename(&here, &elsewhere).unwrap();
    for _ in 0..3 {
        let error = ask(|done| store.append_message(message("c", "lost"), done)).await.unwrap_err();
        assert!(matches!(error, StoreError::Io { .. }), "{error}");
    }
    assert!(!store.status().healthy && !here.exists(), "no empty file takes its place");
    fs::rename(&elsewhere, &here).unwrap();
    assert_eq!(append(&store, message("c", "2")).await, Appended { message_seq: 2, duplicate: false });
    store.close().await;
    assert_eq!(place.open().await.last_message_seq("c").await, Ok(2));
}

/// As the disk itself says it. By hand: `mount -t tmpfs -o size=1m none DIR`, `VOXGATE_TEST_SMALL_DISK=DIR cargo test --lib -- --ignored small_disk`.
#[tokio::test]
#[ignore = "needs a small file system"]
async fn a_small_disk_that_fills_up_is_told_and_got_over() {
    let Ok(folder) = std::env::var("VOXGATE_TEST_SMALL_DISK") else { return };
    let ballast = Path::new(&folder).join("ballast");
    let place = Place { url: format!("sqlite:{folder}/full.db"), _keep: Box::new(()) };
    fs::write(&ballast, vec![0; 300_000]).unwrap();
    let store = place.open().await;
    let large = "x".repeat(20_000);
    let mut kept = 0;
    let error = loop {
        match ask(|done| store.append_message(message("c", &large), done)).await {
            Ok(appended) => kept = appended.message_seq,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::Full { .. }) && kept > 0, "{error}");
    assert_eq!(store.last_message_seq("c").await, Ok(kept));
    fs::remove_file(&ballast).unwrap();
    assert_eq!(append(&store, message("c", &large)).await.message_seq, kept + 1);
    store.close().await;
    let store = place.open().await;
    assert_eq!(store.last_message_seq("c").await, Ok(kept + 1));
    store.close().await;
}

#[tokio::test]
async fn a_write_that_the_database_refuses_fails_alone() {
    let place = place();
    let store = place.open().await;
    let mut other = stranger(&place.file()).await;
    query(
        "CREATE TRIGGER poison BEFORE INSERT ON messages WHEN NEW.content = 'poison'
            BEGIN SELECT RAISE(ABORT, 'not that'); END",
    )
    .execute(&mut other)
    .await
    .unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    for n in 0..9 {
        let told = Arc::clone(&told);
        let content = if n == 4 { "poison" } else { "1" };
        store
            .append_message(
                message("c", content),
                Box::new(move |r| told.lock().unwrap().push((n, r.map(|a| a.message_seq)))),
            )
            .unwrap();
    }
    store.ping().await.unwrap();
    let told = std::mem::take(&mut *told.lock().unwrap());
    for (at, (n, result)) in told.into_iter().enumerate() {
        assert_eq!(at, n, "the order holds");
        match result {
            Ok(seq) => assert_eq!(seq, if n < 4 { n as u64 + 1 } else { n as u64 }),
            Err(error) => assert!(n == 4 && matches!(error, StoreError::Refused { .. }) && !error.is_retryable()),
        }
    }
    let status = store.status();
    assert!(status.healthy && status.last_error.is_some_and(|e| e.contains("not that")));
    other.close().await.unwrap();
    store.close().await;
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let place = place();
    fs::create_dir_all(place.file().parent().unwrap()).unwrap();
    fs::write(place.file(), b"this is no database, whatever its name says".repeat(200)).unwrap();
    let error = open(&place.url, StoreOptions::default()).await.err().unwrap();
    assert!(
        matches!(&error, StoreError::Open { source, .. } if matches!(**source, StoreError::Corrupt { .. })),
        "{error}"
    );
    assert!(error.to_string().contains("voxgate.db") && !error.is_retryable(), "{error}");
}

#[tokio::test]
async fn a_damaged_database_is_refused() {
    let place = place();
    let store = place.open().await;
    for _ in 0..50 {
        append(&store, message("c", &"x".repeat(3_000))).await;
    }
    store.close().await;
    let mut bytes = fs::read(place.file()).unwrap();
    let quarter = bytes.len() / 4;
    bytes[quarter..3 * quarter].fill(0xA5);
    fs::write(place.file(), bytes).unwrap();
    let error = open(&place.url, StoreOptions::default()).await.err().unwrap();
    assert!(
        matches!(&error, StoreError::Open { source, .. } if matches!(**source, StoreError::Corrupt { .. })),
        "{error}"
    );
}

#[tokio::test]
async fn a_place_that_cannot_be_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), b"").unwrap();
    for below in ["file/voxgate.db", "."] {
        let url = format!("sqlite:{}", folder.path().join(below).display());
        let error = open(&url, StoreOptions::default()).await.err().unwrap();
        assert!(
            matches!(&error, StoreError::Open { source, .. } if matches!(**source, StoreError::Io { .. })),
            "{error}"
        );
    }
}

#[tokio::test]
async fn the_tables_of_a_newer_version_are_refused() {
    let place = place();
    place.open().await.close().await;
    let mut other = stranger(&place.file()).await;
    query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
            VALUES (9000, 'of tomorrow', TRUE, x'00', 0)",
    )
    .execute(&mut other)
    .await
    .unwrap();
    other.close().await.unwrap();
    let error = open(&place.url, StoreOptions::default()).await.err().unwrap();
    assert!(matches!(error, StoreError::Schema { .. }), "{error}");
    assert!(error.to_string().contains("newer version"), "{error}");
}

#[tokio::test]
async fn the_file_is_opened_as_durability_needs_it() {
    let place = place();
    let store = place.open().await;
    append(&store, message("c", "1")).await;
    let mut other = stranger(&place.file()).await;
    let mode: String = query("PRAGMA journal_mode").fetch_one(&mut other).await.unwrap().get(0);
    assert_eq!(mode, "wal");
    other.close().await.unwrap();

    let database = super::Database::new(place.file(), &StoreOptions::default());
    let mut writing = database.connect().await.unwrap();
    for (pragma, expected) in [("PRAGMA synchronous", 2), ("PRAGMA foreign_keys", 1), ("PRAGMA busy_timeout", 2_000)] {
        let value: i64 = query(pragma).fetch_one(&mut writing).await.unwrap().get(0);
        assert_eq!(value, expected, "{pragma}");
    }
    writing.close().await.unwrap();
    let mut reading = database.reading().connect().await.unwrap();
    assert!(query("DELETE FROM messages").execute(&mut reading).await.is_err(), "what reads cannot write");
    reading.close().await.unwrap();

    let log = place.file().with_extension("db-wal");
    assert!(fs::metadata(&log).unwrap().len() > 0);
    store.close().await;
    assert!(!log.exists(), "a store that was closed leaves one file");
}

#[tokio::test]
async fn two_stores_on_one_file_number_alike() {
    let place = place();
    let (one, two) = (place.open().await, place.open().await);
    let mut seqs = Vec::new();
    for _ in 0..20 {
        let (a, b) = tokio::join!(append(&one, message("c", "1")), append(&two, message("c", "1")));
        seqs.extend([a.message_seq, b.message_seq]);
    }
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=40).collect::<Vec<_>>());
    tokio::join!(one.close(), two.close());
}

#[tokio::test]
async fn a_backup_is_made_while_it_runs() {
    let place = place();
    let store = place.open().await;
    append(&store, message("c", "1")).await;
    let copy = place.file().with_extension("copy");
    let mut other = stranger(&place.file()).await;
    query("VACUUM INTO ?1").bind(copy.to_str().unwrap()).execute(&mut other).await.unwrap();
    other.close().await.unwrap();
    append(&store, message("c", "2")).await;
    store.close().await;
    let store = open(&format!("sqlite:{}", copy.display()), StoreOptions::default()).await.unwrap();
    assert_eq!(append(&store, message("c", "after")).await.message_seq, 2);
    store.close().await;
}

#[test]
fn a_runtime_that_ends_tells_everybody() {
    let place = place();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let store = runtime.block_on(place.open());
    let told = Arc::new(Mutex::new(Vec::new()));
    for _ in 0..3 {
        let told = Arc::clone(&told);
        let owner = Owner::Client("c".to_owned());
        store.set_preferences(owner, "{}".to_owned(), Box::new(move |r| told.lock().unwrap().push(r))).unwrap();
    }
    drop(runtime);
    assert_eq!(*told.lock().unwrap(), vec![Err(StoreError::Closed); 3]);
    let refused = store.set_preferences(Owner::Client("c".to_owned()), "{}".to_owned(), Box::new(|_| {}));
    assert_eq!(refused, Err(StoreError::Closed));
}

/// Where the child of the next test keeps its messages.
const CHILD_URL: &str = "VOXGATE_TEST_STORE_CHILD";

/// Not a test: what `what_was_told_of_outlives_a_kill` kills. It writes the number of each message that it was told of.
#[tokio::test]
#[ignore = "the child process of another test"]
async fn child_that_appends_until_it_is_killed() {
    let Ok(url) = std::env::var(CHILD_URL) else { return };
    let store: Arc<dyn Store> = open(&url, StoreOptions::default()).await.unwrap();
    for n in 0_u64.. {
        let said = Box::new(move |result: Result<Appended, _>| {
            use std::io::Write;
            // Straight to the pipe, so that what the parent reads was said before it was killed.
            let line = format!("kept {} {n}\n", result.unwrap().message_seq);
            std::io::stdout().write_all(line.as_bytes()).unwrap();
        });
        while store.status().queued > 1_000 {
            tokio::task::yield_now().await;
        }
        store.append_message(message("c", &n.to_string()), said).unwrap();
    }
}

#[tokio::test]
async fn what_was_told_of_outlives_a_kill() {
    let place = place();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "store::sqlite::tests::child_that_appends_until_it_is_killed"])
        .env(CHILD_URL, &place.url)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut told = Vec::new();
    let kept = |line: &str| {
        let (seq, content) = line.split_once("kept ")?.1.split_once(' ')?;
        Some((seq.parse::<u64>().ok()?, content.to_owned()))
    };
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while told.len() < 3_000 {
        told.extend(kept(&lines.next().expect("the child goes on").unwrap()));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // What it said before it died; the last line may be cut short, and is no promise then.
    let mut rest: Vec<_> = lines.map_while(Result::ok).collect();
    rest.pop();
    told.extend(rest.iter().filter_map(|line| kept(line)));

    let store = place.open().await;
    let last = store.last_message_seq("c").await.unwrap();
    assert!(last >= told.len() as u64);
    let mut all = std::collections::HashMap::new();
    let mut after = 0;
    loop {
        let page = store.messages("c", after, 1_000).await.unwrap();
        for m in page.messages {
            assert_eq!(m.message_seq, after + 1, "no holes");
            after = m.message_seq;
            all.insert(m.message_seq, m.content);
        }
        if !page.more {
            break;
        }
    }
    for (seq, content) in told {
        assert_eq!(all.get(&seq), Some(&content), "message {seq} was told of");
    }
    assert_eq!(append(&store, message("c", "1")).await.message_seq, last + 1);
    store.close().await;
}
