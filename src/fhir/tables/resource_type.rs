//! The names of the resource types of R4.

use super::{Shape, ShapeKind, shape_of};
use std::fmt;

macro_rules! resource_types {
    ($($name:ident,)*) => {
        /// A resource type of R4 4.0.1 that can be instantiated (`http://hl7.org/fhir/ValueSet/resource-types` without the
        /// abstract `Resource` and `DomainResource`).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum ResourceType { $(#[doc = stringify!($name)] $name,)* }

        impl ResourceType {
            /// Every type, in alphabetical order.
            pub const ALL: &'static [ResourceType] = &[$(ResourceType::$name,)*];

            /// The name as it stands in `resourceType`.
            pub fn as_str(self) -> &'static str {
                match self { $(ResourceType::$name => stringify!($name),)* }
            }

            /// The type of a name, spelled exactly.
            pub fn parse(name: &str) -> Option<Self> {
                match name { $(stringify!($name) => Some(ResourceType::$name),)* _ => None }
            }
        }
    };
}

resource_types! {
    Account, ActivityDefinition, AdverseEvent, AllergyIntolerance, Appointment, AppointmentResponse, AuditEvent,
    Basic, Binary, BiologicallyDerivedProduct, BodyStructure, Bundle, CapabilityStatement, CarePlan, CareTeam,
    CatalogEntry, ChargeItem, ChargeItemDefinition, Claim, ClaimResponse, ClinicalImpression, CodeSystem,
    Communication, CommunicationRequest, CompartmentDefinition, Composition, ConceptMap, Condition, Consent,
    Contract, Coverage, CoverageEligibilityRequest, CoverageEligibilityResponse, DetectedIssue, Device,
    DeviceDefinition, DeviceMetric, DeviceRequest, DeviceUseStatement, DiagnosticReport, DocumentManifest,
    DocumentReference, EffectEvidenceSynthesis, Encounter, Endpoint, EnrollmentRequest, EnrollmentResponse,
    EpisodeOfCare, EventDefinition, Evidence, EvidenceVariable, ExampleScenario, ExplanationOfBenefit,
    FamilyMemberHistory, Flag, Goal, GraphDefinition, Group, GuidanceResponse, HealthcareService, ImagingStudy,
    Immunization, ImmunizationEvaluation, ImmunizationRecommendation, ImplementationGuide, InsurancePlan,
    Invoice, Library, Linkage, List, Location, Measure, MeasureReport, Media, Medication,
    MedicationAdministration, MedicationDispense, MedicationKnowledge, MedicationRequest, MedicationStatement,
    MedicinalProduct, MedicinalProductAuthorization, MedicinalProductContraindication,
    MedicinalProductIndication, MedicinalProductIngredient, MedicinalProductInteraction,
    MedicinalProductManufactured, MedicinalProductPackaged, MedicinalProductPharmaceutical,
    MedicinalProductUndesirableEffect, MessageDefinition, MessageHeader, MolecularSequence, NamingSystem,
    NutritionOrder, Observation, ObservationDefinition, OperationDefinition, OperationOutcome, Organization,
    OrganizationAffiliation, Parameters, Patient, PaymentNotice, PaymentReconciliation, Person, PlanDefinition,
    Practitioner, PractitionerRole, Procedure, Provenance, Questionnaire, QuestionnaireResponse, RelatedPerson,
    RequestGroup, ResearchDefinition, ResearchElementDefinition, ResearchStudy, ResearchSubject, RiskAssessment,
    RiskEvidenceSynthesis, Schedule, SearchParameter, ServiceRequest, Slot, Specimen, SpecimenDefinition,
    StructureDefinition, StructureMap, Subscription, Substance, SubstanceNucleicAcid, SubstancePolymer,
    SubstanceProtein, SubstanceReferenceInformation, SubstanceSourceMaterial, SubstanceSpecification,
    SupplyDelivery, SupplyRequest, Task, TerminologyCapabilities, TestReport, TestScript, ValueSet,
    VerificationResult, VisionPrescription,
}

impl ResourceType {
    /// The type's elements, for the 29 types whose definitions the tables hold; others are only known by name.
    pub fn shape(self) -> Option<&'static Shape> {
        shape_of(self.as_str()).filter(|shape| shape.kind == ShapeKind::Resource)
    }
}

impl fmt::Display for ResourceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
