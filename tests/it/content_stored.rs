//! Attacks on what is kept (A154 to A156): the same again, over what is there, and on the disk.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::*;

/// Status, names of headers, length.
type Shape = (u16, Vec<String>, usize);

/// Every file below `blobs`, with its path.
pub fn stored(daylily: &TestDaylily) -> BTreeSet<PathBuf> {
    fn under(folder: &Path, found: &mut BTreeSet<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                under(&path, found)
            } else {
                {
                    found.insert(path);
                }
            }
        }
    }
    let mut found = BTreeSet::new();
    under(&daylily.data().join("blobs"), &mut found);
    found
}

/// Settings under which every content becomes a file of its own.
pub async fn filing(policy: &str) -> TestDaylily {
    TestDaylily::start_with(policy, |settings| settings.limits.inline_threshold = 0).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a154_the_same_bytes_again_tell_nobody_that_they_are_known() {
    let daylily = filing("").await;
    let (one, two) = (daylily.source().await, daylily.client("other", FULL, &["own"]).await);
    let bytes = pdf(5, 70_000);
    let shape = |answer: &Answer| {
        let mut names: Vec<String> = answer.headers.keys().map(ToString::to_string).collect();
        names.sort();
        (answer.status, names, answer.bytes.len())
    };
    let mut answers = Vec::new();
    for actor in [&one, &two, &one] {
        let binary = actor.upload("application/pdf", &bytes).await;
        let created = actor.post("DocumentReference", &document("p1", &[inline("application/pdf", &bytes)])).await;
        let id = text(&created.json(), "/id");
        daylily.wait(actor, &id, "ready").await;
        let whole = daylily.get(&daylily.link(actor, &id).await).await;
        assert_eq!(whole.bytes, bytes);
        answers.push([shape(&binary), shape(&created), shape(&whole)]);
    }
    let lengths = |answers: &[[Shape; 3]]| answers.iter().map(|[a, b, c]| [a.2, b.2, c.2]).collect::<Vec<_>>();
    // Names of clients differ in length; nothing else does.
    assert!(lengths(&answers).iter().all(|sizes| sizes[1].abs_diff(answers[0][1].2) <= 16), "{:?}", lengths(&answers));
    for [binary, created, whole] in &answers {
        let [first, second, third] = &answers[0];
        assert_eq!((binary.0, &binary.1), (first.0, &first.1));
        assert_eq!((created.0, &created.1), (second.0, &second.1));
        assert_eq!(whole, third);
    }
    let files = stored(&daylily);
    assert_eq!(files.len(), 6, "each is a file of its own");
    let contents: BTreeSet<Vec<u8>> = files.iter().map(|path| std::fs::read(path).unwrap().split_off(64)).collect();
    assert_eq!(contents.len(), 6, "and no two are alike");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a155_what_was_released_cannot_be_written_over() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let bytes = pdf(1, 70_000);
    let file = text(&source.upload("application/pdf", &bytes).await.ok(201), "/id");
    let body = document("p1", &[named("application/pdf", &format!("Binary/{file}"))]);
    let id = daylily.ready(&source, &body).await;
    let link = daylily.link(&source, &id).await;
    let dirty = inline("text/plain", &eicar());
    let mut replaced = document("p1", std::slice::from_ref(&dirty));
    replaced["id"] = json!(id);
    let binary = json!({ "resourceType": "Binary", "id": file, "contentType": "text/plain", "data": dirty["data"] });
    for (method, path, body) in [
        (Method::PUT, format!("DocumentReference/{id}"), &replaced),
        (Method::PATCH, format!("DocumentReference/{id}"), &json!([{"op": "remove", "path": "/content"}])),
        (Method::PUT, format!("Binary/{file}"), &binary),
        (Method::DELETE, format!("Binary/{file}"), &Value::Null),
        (Method::PATCH, format!("Binary/{file}"), &binary),
    ] {
        let request = source.request(method.clone(), &path).await.header("Content-Type", "application/fhir+json");
        let answer = Answer::of(request.body(body.to_string())).await;
        assert!(matches!(answer.status, 405 | 415), "{method} {path}: {}", answer.status);
    }
    // Another document may name the file; it gets a copy that is looked at anew, and the first stays as it is.
    let mut again = document("p1", &[named("application/pdf", &format!("Binary/{file}"))]);
    again["description"] = json!("second");
    let second = source.post("DocumentReference", &again).await;
    assert!(second.status == 201 || (400..=422).contains(&second.status), "{}", second.status);
    let whole = daylily.get(&link).await;
    assert_eq!((whole.status, whole.bytes), (200, bytes));
}

/// The body of an answer, as far as it came.
fn body(answer: &[u8]) -> &[u8] {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
    end.map_or(&[][..], |end| &answer[end + 4..])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a156_sealed_bytes_that_were_changed_on_disk_never_leave() {
    let daylily = filing("").await;
    let source = daylily.source().await;
    let files = async |seed: u32| {
        let before = stored(&daylily);
        let bytes = pdf(seed, 200_000);
        let id = daylily.ready(&source, &document("p1", &[inline("application/pdf", &bytes)])).await;
        let path = stored(&daylily).difference(&before).next().unwrap().clone();
        (daylily.link(&source, &id).await, bytes, path)
    };
    let (link, bytes, path) = files(1).await;
    let (_, _, foreign) = files(2).await;
    let (own, other) = (std::fs::read(&path).unwrap(), std::fs::read(&foreign).unwrap());
    let chunk = 65_536 + 16;
    let start = own.len() % chunk;
    let swapped = {
        let mut swapped = own.clone();
        let (one, two) = (own.len() - 2 * chunk - 5_000, own.len() - chunk - 5_000);
        let (first, second) = (own[one..one + 4_000].to_vec(), own[two..two + 4_000].to_vec());
        swapped[one..one + 4_000].copy_from_slice(&second);
        swapped[two..two + 4_000].copy_from_slice(&first);
        swapped
    };
    let mut flipped = own.clone();
    flipped[150_000] ^= 1;
    let mut spliced = own.clone();
    spliced[100_000..].copy_from_slice(&other[100_000..own.len().min(other.len())]);
    for (name, damaged) in [
        ("another file's bytes", other.clone()),
        ("pieces that changed places", swapped),
        ("one bit", flipped),
        ("cut by a byte", own[..own.len() - 1].to_vec()),
        ("cut in the middle", own[..100_000].to_vec()),
        ("the last chunk gone", own[..own.len() - start.max(1)].to_vec()),
        ("nothing left", Vec::new()),
        ("something added", [own.as_slice(), b"more"].concat()),
        ("the end of another file", spliced),
    ] {
        std::fs::write(&path, &damaged).unwrap();
        let path_of = &link[link.find("/d/").unwrap()..];
        let request = format!("GET {path_of} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", host(&daylily));
        let answer = raw(&daylily, &request).await;
        let code = if answer.is_empty() { 0 } else { status(&answer) };
        let came = body(&answer);
        if code == 200 {
            // What was sound was on its way already; the connection broke where it was not.
            assert!(came.len() < bytes.len() && bytes.starts_with(came), "{name}: {} bytes", came.len());
        } else {
            assert!(matches!(code, 0 | 410 | 500 | 502 | 503), "{name}: {code}");
            assert!(!holds(came, &bytes[200..240]), "{name}");
        }
    }
    std::fs::write(&path, &own).unwrap();
    let good = async || (daylily.get(&link).await.bytes == bytes).then_some(());
    daylily.until("as it was", good).await;
}
