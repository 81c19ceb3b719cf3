//! Tests of `egress`, apart so that both files can be read.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

fn loopback() -> EgressRules {
    EgressRules { allow: vec!["127.0.0.0/8".parse().unwrap()], allow_http: true, own: None }
}

/// A host that answers every connection with the same bytes and counts connections.
async fn host(answer: Vec<u8>) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, hits) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
    let counter = hits.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::SeqCst);
            let mut request = [0; 2048];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(&answer).await;
        }
    });
    (port, hits)
}

fn http(head: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

#[tokio::test]
async fn an_answer_comes_with_what_says_how_long_it_may_be_kept() {
    let (port, _) = host(http("200 OK\r\nCache-Control: public\r\nCache-Control: max-age=60\r\nAge: 5", b"{}")).await;
    let answer = Egress::new(loopback()).unwrap().get_json(&format!("http://127.0.0.1:{port}/jwks")).await.unwrap();
    assert_eq!(
        answer,
        Answer { body: b"{}".to_vec(), cache_control: Some("public,max-age=60".to_owned()), age: Some(5) }
    );
}

#[tokio::test]
async fn a158_nothing_is_connected_to_that_is_not_allowed() {
    let (port, hits) = host(http("200 OK", b"{}")).await;
    let guarded = Egress::new(EgressRules { allow: Vec::new(), allow_http: true, own: None }).unwrap();
    for name in [
        "127.0.0.1",
        "localhost",
        "localhost.",
        "127.1",
        "2130706433",
        "0x7f000001",
        "[::ffff:127.0.0.1]",
        "0177.0.0.1",
    ] {
        let refused = guarded.get_json(&format!("http://{name}:{port}/")).await.unwrap_err();
        // Not every system's resolver knows the name with its root dot.
        let unknown = name.ends_with('.') && matches!(refused, EgressError::Name);
        assert!(matches!(refused, EgressError::Address) || unknown, "{name}: {refused:?}");
    }
    assert_eq!(hits.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a029_a161_redirects_are_answers_and_never_followed() {
    let (target, hits) = host(http("200 OK", b"{}")).await;
    for status in ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let head = format!("{status}\r\nLocation: http://127.0.0.1:{target}/");
        let (port, _) = host(http(&head, b"")).await;
        let refused =
            Egress::new(loopback()).unwrap().get_json(&format!("http://127.0.0.1:{port}/")).await.unwrap_err();
        assert!(matches!(refused, EgressError::Status(300..400)), "{refused:?}");
    }
    assert_eq!(hits.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a029_a_large_body_is_cut_with_and_without_a_length() {
    let large = vec![b' '; MAX_BODY_BYTES + 1];
    let announced = http("200 OK", &large);
    let open_ended = [b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".as_slice(), &large].concat();
    for answer in [announced, open_ended] {
        let (port, _) = host(answer).await;
        let refused =
            Egress::new(loopback()).unwrap().get_json(&format!("http://127.0.0.1:{port}/")).await.unwrap_err();
        assert!(matches!(refused, EgressError::TooLarge), "{refused:?}");
    }
    let (port, _) = host(http("200 OK", &vec![b' '; MAX_BODY_BYTES])).await;
    assert!(Egress::new(loopback()).unwrap().get_json(&format!("http://127.0.0.1:{port}/")).await.is_ok());
}

#[test]
fn a159_a162_a163_the_parsed_url_is_what_is_checked() {
    let own = Some(("documents.hospital.example".to_owned(), 443));
    let rules = EgressRules { own, ..EgressRules::default() };
    let refused = |text: &str| vet_url(text, &rules).unwrap_err();
    for inside in [
        "https://2852039166/",
        "https://0xa9fea9fe/",
        "https://0251.0376.0251.0376/",
        "https://169.16689662/",
        "https://\u{2460}\u{2461}\u{2466}.0.0.1/", // 127.0.0.1 with circled digits
        "https://[::ffff:169.254.169.254]/",
        "https://[64:ff9b::a9fe:a9fe]/",
        "https://[2002:a9fe:a9fe::]/",
        "https://127.0.0.1\\@partner.example/",
        "https://0/",
    ] {
        assert!(matches!(refused(inside), EgressError::Address), "{inside}");
    }
    for wrong in [
        "http://partner.example/",
        "ftp://partner.example/",
        "gopher://partner.example/",
        "unix:/run/x",
        "file:///etc/passwd",
        "https://a@partner.example/",
        "https://good@169.254.169.254/",
        "https://:b@partner.example/",
        "https://partner.example:22/",
        "https://partner.example:25/",
        "https://partner.example:80/",
        "https://partner.example:6379/",
        "https://partner.example:5432/",
        "https://partner%00.example/",
        "https:///",
        "partner.example",
        "https://documents.hospital.example/hook",
    ] {
        assert!(matches!(refused(wrong), EgressError::Url(_)), "{wrong}");
    }
    for good in ["https://partner.example/jwks", "https://partner.example:8443/jwks", "https://8.8.8.8/"] {
        assert!(vet_url(good, &rules).is_ok(), "{good}");
    }
}

#[test]
fn a160_one_address_that_is_refused_refuses_the_name() {
    let rules = EgressRules::default();
    let list = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpAddr>>();
    assert!(vet_addresses(&list(&["8.8.8.8", "2606:4700::1"]), &rules).is_ok());
    for mixed in [&["8.8.8.8", "127.0.0.1"][..], &["2606:4700::1", "::1"], &["::ffff:10.0.0.1"]] {
        assert!(matches!(vet_addresses(&list(mixed), &rules), Err(EgressError::Address)), "{mixed:?}");
    }
    assert!(matches!(vet_addresses(&[], &rules), Err(EgressError::Name)));
}

pub(in crate::notify) struct Scripted(pub(in crate::notify) AtomicUsize);

impl Lookup for Scripted {
    fn lookup(&self, _: String) -> futures_util::future::BoxFuture<'static, std::io::Result<Vec<IpAddr>>> {
        // The first answer is allowed, every later one is another machine: rebinding.
        let first = self.0.fetch_add(1, Ordering::SeqCst) == 0;
        let answer = if first { "127.0.0.1" } else { "10.255.255.1" };
        Box::pin(async move { Ok(vec![answer.parse().unwrap()]) })
    }
}

#[tokio::test]
async fn a160_a_name_is_looked_up_once_and_what_was_vetted_is_called() {
    let (port, hits) = host(http("200 OK", b"{}")).await;
    let lookup = Arc::new(Scripted(AtomicUsize::new(0)));
    let rules = Arc::new(loopback());
    let resolver = Vetting { rules: rules.clone(), lookup: lookup.clone() };
    let client = guarded(resolver).pool_max_idle_per_host(0).build().unwrap();
    let egress = Egress { client, rules };
    let url = format!("http://partner.example:{port}/");
    assert!(egress.get_json(&url).await.is_ok());
    assert_eq!((lookup.0.load(Ordering::SeqCst), hits.load(Ordering::SeqCst)), (1, 1));
    assert!(matches!(egress.get_json(&url).await, Err(EgressError::Address)));
    assert_eq!(hits.load(Ordering::SeqCst), 1);
}

#[test]
fn a158_names_of_the_inside_are_refused_unless_the_operator_let_networks_through() {
    let rules = EgressRules::default();
    for inside in
        ["localhost", "a.localhost", "receiver", "his.local", "his.lan.", "x.home.arpa", "db.internal", "a.onion"]
    {
        assert!(matches!(vet_url(&format!("https://{inside}/"), &rules), Err(EgressError::Address)), "{inside}");
        assert!(vet_url(&format!("https://{inside}/"), &loopback()).is_ok(), "{inside}");
    }
    for outside in ["local.example", "internal.partner.example", "8.8.8.8", "[2606:4700::1]"] {
        assert!(vet_url(&format!("https://{outside}/"), &rules).is_ok(), "{outside}");
    }
}

#[tokio::test]
async fn a158_a_name_of_the_inside_never_leads_outside() {
    struct Fixed(&'static str);
    impl Lookup for Fixed {
        fn lookup(&self, _: String) -> futures_util::future::BoxFuture<'static, std::io::Result<Vec<IpAddr>>> {
            let answer = self.0;
            Box::pin(async move { Ok(vec![answer.parse().unwrap()]) })
        }
    }
    let vetting = |answer| Vetting { rules: Arc::new(loopback()), lookup: Arc::new(Fixed(answer)) };
    assert!(vetting("127.0.0.1").vetted("receiver").await.is_ok());
    assert!(matches!(vetting("8.8.8.8").vetted("receiver").await, Err(EgressError::Address)));
    assert!(vetting("8.8.8.8").vetted("receiver.example").await.is_ok());
}

#[tokio::test]
async fn whether_an_address_may_be_called_is_known_before() {
    let guarded = Egress::new(EgressRules { allow_http: true, ..EgressRules::default() }).unwrap();
    assert!(matches!(guarded.may_call("http://127.0.0.1:9000/").await, Err(EgressError::Address)));
    assert!(matches!(guarded.may_call("ftp://partner.example/").await, Err(EgressError::Url(_))));
    let open = Egress::new(loopback()).unwrap();
    assert!(open.may_call("http://127.0.0.1:9000/hook").await.is_ok());
    assert!(open.may_call("http://localhost:9000/hook").await.is_ok());
}
