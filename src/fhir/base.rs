//! This server's own addresses: generated URLs are made here, and URLs that come in are compared with it here. Nothing of a
//! request goes into either.

use crate::domain::id::{FileId, ResourceId};
use crate::domain::link;
use crate::domain::resource::{Kind, Target};

/// The base URL of the deployment (`[server] base-url`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    root: String,
    fhir: String,
}

impl Base {
    /// `root` is an `http` or `https` URL; a slash at its end is dropped.
    pub fn new(root: &str) -> Self {
        let root = root.trim_end_matches('/').to_owned();
        Self { fhir: format!("{root}/fhir"), root }
    }

    /// The root, without a slash at the end.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// The FHIR base, `{root}/fhir`.
    pub fn fhir(&self) -> &str {
        &self.fhir
    }

    /// Where a resource is read.
    pub fn resource(&self, kind: Kind, id: &ResourceId) -> String {
        format!("{}/{}/{id}", self.fhir, kind.as_str())
    }

    /// Where one version of a resource is read, for `Location`.
    pub fn version(&self, kind: Kind, id: &ResourceId, version: u32) -> String {
        format!("{}/{}/{id}/_history/{version}", self.fhir, kind.as_str())
    }

    /// The signed link of a token.
    pub fn link(&self, token: &link::Token) -> String {
        format!("{}/d/{}", self.root, token.as_str())
    }

    /// The handle of a file: its Binary, version by version. A file is one version of one content, so that is 1.
    pub fn handle(&self, file: FileId) -> String {
        format!("{}/Binary/{file}/_history/1", self.fhir)
    }

    /// What stands behind the FHIR base in an absolute URL of this server.
    pub fn below_fhir<'u>(&self, url: &'u str) -> Option<&'u str> {
        below(&self.fhir, url)
    }

    /// A reference as it is compared: relative where it names this server, without its version; else as written.
    pub fn target(&self, reference: &str) -> Target {
        let local = self.below_fhir(reference).unwrap_or(reference);
        let mut steps = local.split('/');
        match (steps.next(), steps.next(), steps.next(), steps.next(), steps.next()) {
            (Some(kind), Some(id), Some("_history"), Some(_), None) if is_type_and_id(kind, id) => {
                Target(format!("{kind}/{id}"))
            }
            (Some(kind), Some(id), None, None, None) if is_type_and_id(kind, id) => Target(format!("{kind}/{id}")),
            _ => Target(reference.to_owned()),
        }
    }

    /// The file that an attachment url of this server names, without trusting it: a signed link, current or long expired, a
    /// handle, or a reference to a Binary.
    pub fn named_file(&self, url: &str) -> Named {
        if let Some(token) = below(&self.root, url).and_then(|path| path.strip_prefix("d/")) {
            return link::named_file(token).map_or(Named::Unknown, Named::File);
        }
        let local = match self.below_fhir(url) {
            Some(local) => local,
            None if url.starts_with("Binary/") => url,
            None if below(&self.root, url).is_some() => return Named::Unknown,
            None => return Named::Elsewhere,
        };
        let mut steps = local.split('/');
        match (steps.next(), steps.next(), steps.next(), steps.next(), steps.next()) {
            (Some("Binary"), Some(id), None, None, None)
            | (Some("Binary"), Some(id), Some("_history"), Some("1"), None) => {
                FileId::parse(id).map_or(Named::Unknown, Named::File)
            }
            _ => Named::Unknown,
        }
    }
}

/// What an attachment url names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// A file of this server, if the writer may read it.
    File(FileId),
    /// A place of this server where no file can be.
    Unknown,
    /// Another host, or no place at all.
    Elsewhere,
}

fn is_type_and_id(kind: &str, id: &str) -> bool {
    kind.starts_with(|c: char| c.is_ascii_uppercase())
        && kind.bytes().all(|b| b.is_ascii_alphabetic())
        && ResourceId::parse(id).is_some()
}

/// The rest of `url` below `base`. `http` and `https` name the same thing (FHIR R4 http.html, service base URL), and the
/// spellings of loopback are one (contract, Settings).
fn below<'u>(base: &str, url: &'u str) -> Option<&'u str> {
    let ((base_host, base_path), (host, path)) = (split(base)?, split(url)?);
    let same = same_host(base_host, host);
    let rest = path.strip_prefix(base_path.trim_start_matches('/'))?;
    let rest = if base_path.is_empty() { rest } else { rest.strip_prefix('/')? };
    same.then_some(rest)
}

fn split(url: &str) -> Option<(&str, &str)> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    Some(rest.split_once('/').unwrap_or((rest, "")))
}

fn same_host(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b) || loopback_port(a).is_some_and(|port| loopback_port(b) == Some(port))
}

fn loopback_port(host: &str) -> Option<&str> {
    let rest = ["localhost", "127.0.0.1", "[::1]"].iter().find_map(|name| {
        host.get(..name.len()).filter(|start| start.eq_ignore_ascii_case(name)).and_then(|_| host.get(name.len()..))
    })?;
    if rest.is_empty() { Some("") } else { rest.strip_prefix(':') }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_urls_are_known_in_each_spelling_and_others_are_not() {
        let base = Base::new("http://localhost:8080/");
        for own in
            ["http://localhost:8080/fhir/Patient/1", "https://127.0.0.1:8080/fhir/Patient/1/_history/3", "Patient/1"]
        {
            assert_eq!(base.target(own).0, "Patient/1", "{own}");
        }
        for other in [
            "http://localhost:8081/fhir/Patient/1",
            "http://localhost:8080/fhirx/Patient/1",
            "urn:uuid:1",
            "#a",
            "patient/1",
        ] {
            assert_eq!(base.target(other).0, other);
        }
    }

    #[test]
    fn a_base_with_a_path_keeps_it() {
        let base = Base::new("https://h.example/apis");
        assert_eq!(base.fhir(), "https://h.example/apis/fhir");
        assert_eq!(base.target("https://h.example/apis/fhir/Patient/1").0, "Patient/1");
        assert_eq!(base.target("https://h.example/fhir/Patient/1").0, "https://h.example/fhir/Patient/1");
        assert_eq!(base.target("https://h.example/apisfhir/Patient/1").0, "https://h.example/apisfhir/Patient/1");
    }

    #[test]
    fn a_file_is_named_by_reference_and_by_handle() {
        let base = Base::new("https://h.example");
        let file = FileId::from_bytes([5; 16]);
        for url in [format!("Binary/{file}"), format!("https://h.example/fhir/Binary/{file}"), base.handle(file)] {
            assert_eq!(base.named_file(&url), Named::File(file), "{url}");
        }
        assert_eq!(base.named_file("https://h.example/d/nonsense"), Named::Unknown);
        assert_eq!(base.named_file("Binary/x"), Named::Unknown);
        assert_eq!(base.named_file("https://other.example/a.pdf"), Named::Elsewhere);
        assert_eq!(base.named_file("file:///etc/passwd"), Named::Elsewhere);
    }
}
