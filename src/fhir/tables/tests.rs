//! The tables hold what R4 says (checked against the specification's pages by hand).

use super::*;

#[test]
fn every_type_of_the_definitions_is_there() {
    let count = |kind| shapes().iter().filter(|shape| shape.kind == kind).count();
    assert_eq!((count(ShapeKind::Resource), count(ShapeKind::Abstract)), (29, 4));
    assert_eq!(ResourceType::ALL.len(), 146);
    assert_eq!(count(ShapeKind::Datatype), 41);
}

#[test]
fn every_element_has_a_member_and_every_resource_a_known_name() {
    for shape in shapes() {
        assert!(shape.elements.len() <= 64, "{}", shape.name);
        for (index, element) in shape.elements.iter().enumerate() {
            assert!(shape.members.values().any(|member| member.element == index), "{}.{}", shape.name, element.name);
        }
        if shape.kind == ShapeKind::Resource {
            assert!(ResourceType::parse(shape.name).is_some());
        }
    }
}

#[test]
fn document_reference_is_as_r4_says() {
    let shape = shape_of("DocumentReference").unwrap();
    let required: Vec<_> =
        shape.elements.iter().filter(|element| element.required).map(|element| element.name).collect();
    assert_eq!(required, ["status", "content"]);
    let (subject, kind) = shape.member("subject").unwrap();
    assert!(!subject.many && subject.summary);
    assert!(matches!(kind, Kind::Reference(_, ["Patient", "Practitioner", "Group", "Device"])));
    let (status, _) = shape.member("status").unwrap();
    let codes = status.codes.map(|codes| &codes.rule);
    assert!(matches!(codes, Some(CodeRule::Listed(codes)) if *codes == ["current", "superseded", "entered-in-error"]));
}

#[test]
fn choice_members_carry_their_type() {
    let extension = shape_of("Extension").unwrap();
    let (element, kind) = extension.member("valueDateTime").unwrap();
    assert_eq!((element.name, element.choice), ("value", true));
    assert!(matches!(kind, Kind::Primitive(Primitive::DateTime)));
    assert!(extension.member("value").is_none() && extension.member("valueInteger64").is_none());
    assert_eq!(extension.members.values().filter(|member| member.element == 3).count(), 50);
}

#[test]
fn search_parameters_cover_the_type_and_its_bases() {
    let find = |code| search_parameter(ResourceType::DocumentReference, code).unwrap();
    assert_eq!(find("identifier").expression, "DocumentReference.masterIdentifier | DocumentReference.identifier");
    assert_eq!(find("date").kind, SearchType::Date);
    assert_eq!(find("custodian").targets, ["Organization"]);
    assert_eq!(find("_lastUpdated").base, "Resource");
    assert!(search_parameter(ResourceType::Binary, "_text").is_none());
}

#[test]
fn the_patient_compartment_is_as_r4_says() {
    assert_eq!(patient_compartment(ResourceType::DocumentReference), Some(["subject", "author"].as_slice()));
    assert_eq!(patient_compartment(ResourceType::Binary), None);
    assert_eq!(patient_compartment(ResourceType::Subscription), None);
}

#[test]
fn summary_and_entities() {
    let summary: Vec<_> = summary_elements(ResourceType::Binary).collect();
    assert!(summary.contains(&"contentType") && !summary.contains(&"data"));
    assert!(is_html_entity("nbsp") && is_html_entity("apos") && !is_html_entity("foo"));
}
