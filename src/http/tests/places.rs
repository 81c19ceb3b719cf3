//! Limits on what runs at a time, and on what one answer may hold.

use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Service as _;
use actix_web::http::header::HeaderMap;
use actix_web::test::{TestRequest, init_service};

use super::surface::{get, parts, with_token};
use crate::config::Settings;
use crate::domain::holder::Holder;
use crate::domain::principal::ClientNumber;
use crate::http::server::{application, shared};
use crate::shares::{Place, Places};

const PLACES: u32 = 3;

/// Places, a request that needs one, and its answer where there is one.
type Case<'a> = (&'a Places, fn() -> TestRequest, u16);

fn post(uri: &str, kind: &str) -> TestRequest {
    let request = TestRequest::post().uri(uri).insert_header(("host", "docs.example"));
    with_token(request.insert_header(("content-type", kind)))
}

/// Status and headers, whichever way the answer comes.
async fn answered(
    shared: &actix_web::web::Data<crate::http::exchange::Shared>,
    request: TestRequest,
) -> (u16, HeaderMap) {
    let app = init_service(application(shared.clone())).await;
    let request = request.peer_addr("203.0.113.9:1".parse().unwrap());
    match app.call(request.to_request()).await {
        Ok(response) => (response.status().as_u16(), response.headers().clone()),
        Err(error) => (error.error_response().status().as_u16(), error.error_response().headers().clone()),
    }
}

/// So many places, each taken by another client.
fn taken(places: &Places, number: u32) -> Vec<Place> {
    (100..100 + number).filter_map(|client| places.try_take(&Holder::Client(ClientNumber(client))).ok()).collect()
}

#[actix_web::test]
async fn a200_where_all_places_are_taken_one_is_told_to_wait() {
    let mut parts = parts();
    let mut settings = Settings::clone(&parts.settings);
    let limits = &mut settings.limits;
    let number = usize::try_from(PLACES).unwrap();
    (limits.uploads, limits.downloads, limits.searches, limits.waits) = (number, number, number, number);
    limits.turn_wait = Duration::ZERO;
    parts.settings = Arc::new(settings);
    let shared = shared(&parts, true);
    let requests: [Case<'_>; 5] = [
        (&shared.uploads, || post("/fhir/Binary", "application/pdf"), 201),
        (&shared.downloads, || get("/d/good"), 200),
        (
            &shared.searches,
            || with_token(get("/fhir/DocumentReference").insert_header(("prefer", "handling=strict"))),
            200,
        ),
        (
            &shared.searches,
            || {
                post("/fhir/Patient/_search", "application/x-www-form-urlencoded")
                    .insert_header(("prefer", "handling=strict"))
            },
            200,
        ),
        // The operation behind this route is a defect in these tests; that it was reached is what counts.
        (&shared.waits, || with_token(get("/fhir/DocumentReference/1/$lifecycle")), 500),
    ];
    for (places, request, free) in requests {
        assert_eq!(taken(places, PLACES + 1).len(), 3, "as the limit says");
        let held = taken(places, PLACES - 1);
        assert_eq!(answered(&shared, request()).await.0, free, "the last place is one");
        let last = taken(places, PLACES);
        assert_eq!(last.len(), 1, "and is given back");
        for _ in 0..10 {
            let (status, headers) = answered(&shared, request()).await;
            assert_eq!((status, headers.get("daylily-error").unwrap().as_bytes()), (503, &b"server-busy"[..]));
            assert!(headers.contains_key("retry-after"));
        }
        drop((held, last));
        assert_eq!(answered(&shared, request()).await.0, free);
        // One that has its share itself is told so, while there are places for others.
        let own = places.try_take(&Holder::Client(ClientNumber(1))).unwrap();
        let (status, headers) = answered(&shared, request()).await;
        assert_eq!((status, headers.get("daylily-error").unwrap().as_bytes()), (429, &b"rate-limited"[..]));
        assert!(headers.contains_key("retry-after") && taken(places, 1).len() == 1);
        drop(own);
        // The token endpoint has no place to lose.
        assert_ne!(answered(&shared, post("/auth/token", "application/x-www-form-urlencoded")).await.0, 503);
    }
}

#[actix_web::test]
async fn a_file_over_its_limit_comes_as_bytes_alone() {
    // The file of these tests has 21 bytes.
    for (limit, form) in [(21, 200), (20, 406), (2, 406)] {
        let mut parts = parts();
        let mut settings = Settings::clone(&parts.settings);
        settings.limits.binary_form = limit;
        parts.settings = Arc::new(settings);
        let shared = shared(&parts, true);
        let file = || with_token(get("/fhir/Binary/00000000000000000000000000"));
        let asked = file().insert_header(("accept", "application/fhir+json"));
        assert_eq!(answered(&shared, asked).await.0, form, "{limit}");
        assert_eq!(answered(&shared, file()).await.0, 200, "{limit}");
    }
}
