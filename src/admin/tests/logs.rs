//! Log streams.

use super::*;
use crate::query::functions::{LogBatch, LogMessage};

fn batch(texts: &[&str], next: Option<&str>) -> LogBatch {
    let messages = texts.iter().map(|text| LogMessage { text: (*text).into(), ..Default::default() }).collect();
    LogBatch { messages, next: next.map(str::to_owned) }
}

#[tokio::test(start_paused = true)]
async fn logs_stream_batch_after_batch_until_there_is_no_more() {
    let table = Table::new("one");
    // Taken from the end.
    *table.batches.lock().unwrap() = vec![batch(&["c"], None), batch(&[], Some("2")), batch(&["a", "b"], Some("1"))];
    let fixture = fixture(vec![(table, &[])]);
    let response =
        fixture.send("GET", "/system/logs?name=f&follow=true&tail=-1&since=1970-01-01T00:00:01Z&instance=i", "").await;
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    let body = text(response).await;
    let texts: Vec<_> = body.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()).collect();
    assert_eq!(texts.iter().map(|line| line["text"].as_str().unwrap()).collect::<Vec<_>>(), ["a", "b", "c"]);
    let asked = fixture.asked();
    assert!(asked[0].contains("since_ms: Some(1000), tail: None, follow: true"), "{asked:?}");
    assert!(asked[2].ends_with(r#"Some("2")"#), "{asked:?}");
}

#[tokio::test]
async fn a_log_stream_that_breaks_does_not_look_complete() {
    let table = Table::new("one");
    *table.batches.lock().unwrap() = vec![batch(&["a"], Some("1"))];
    let response = fixture(vec![(table, &[])]).send("GET", "/system/logs?name=f", "").await;
    assert_eq!(response.status(), 200);
    assert!(response.into_body().collect().await.is_err());
}

#[tokio::test]
async fn a_log_stream_that_cannot_begin_has_a_status() {
    assert_eq!(fixture(vec![(Table::new("one"), &[])]).ask("GET", "/system/logs?name=f", "").await.0, 503);
}

#[tokio::test]
async fn log_streams_are_bounded_and_a_client_that_leaves_makes_room() {
    let table = Table::new("one");
    *table.batches.lock().unwrap() = vec![batch(&["a"], Some("1")), batch(&["a"], Some("1")), batch(&["a"], Some("1"))];
    let fixture = fixture_with(vec![(table, &[])], |config| config.log_streams = 1);
    let open = fixture.send("GET", "/system/logs?name=f&follow=1", "").await;
    assert_eq!(open.status(), 200);
    assert_eq!(fixture.ask("GET", "/system/logs?name=f", "").await.0, 503);
    drop(open);
    // The permit is given back when the ended task was dropped.
    let freed = Arc::clone(&fixture.admin.shared.log_streams).acquire_owned();
    let permit = tokio::time::timeout(Duration::from_secs(5), freed).await.unwrap().unwrap();
    drop(permit);
    assert_eq!(fixture.send("GET", "/system/logs?name=f", "").await.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_drain_and_the_time_limit_end_a_log_stream_as_complete() {
    for drains in [true, false] {
        let table = Table::new("one");
        // Never a last batch.
        table.batches.lock().unwrap().extend((0..100_000).map(|_| batch(&[], Some("1"))));
        let fixture = fixture_with(vec![(table, &[])], |config| config.log_timeout = Duration::from_secs(60));
        let began = tokio::time::Instant::now();
        let response = fixture.send("GET", "/system/logs?name=f&follow=1", "").await;
        if drains {
            fixture.trigger.drain();
        }
        assert_eq!(text(response).await, "");
        assert_eq!(began.elapsed() >= Duration::from_secs(60), !drains);
    }
}
