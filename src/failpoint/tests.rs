//! Orders are read as they are written, and count each for itself.

use super::Point;
use super::armed::{Action, Order};

#[test]
fn an_order_acts_at_its_time_and_key_only() {
    let order = Order::parse("scan.begun=kill@2#ab").unwrap();
    assert_eq!(order.meet(Point::ScanBegun, "abcd"), None);
    assert_eq!(order.meet(Point::ScanBegun, "cdab"), None);
    assert_eq!(order.meet(Point::ScanRead, "abcd"), None);
    assert_eq!(order.meet(Point::ScanBegun, "abff"), Some(Action::Kill));
    assert_eq!(order.meet(Point::ScanBegun, "abff"), None);
    let each = Order::parse("http.handler=error@*").unwrap();
    assert_eq!(each.meet(Point::HandlerBegun, ""), Some(Action::Error));
    assert_eq!(each.meet(Point::HandlerBegun, ""), Some(Action::Error));
    for wrong in ["", "nowhere=kill", "http.handler=explode", "http.handler=kill@x", "http.handler"] {
        assert!(Order::parse(wrong).is_none(), "{wrong}");
    }
}

#[test]
fn names_are_unique() {
    for (index, point) in Point::ALL.iter().enumerate() {
        assert!(Point::ALL.iter().skip(index + 1).all(|other| other.name() != point.name()), "{}", point.name());
    }
}
