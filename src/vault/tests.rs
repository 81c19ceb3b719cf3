//! What the vault promises, with real files and real commands.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use secrecy::ExposeSecret;

use super::*;

const KEY_A: &str = "daylily-key-v1 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
const KEY_B: &str = "daylily-key-v1 AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

fn entropy() -> Arc<dyn Entropy> {
    Arc::new(SystemEntropy)
}

fn write_key(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn vault_of(text: &str) -> Vault {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("k");
    write_key(&path, text, 0o600);
    let elsewhere = tempfile::tempdir().unwrap();
    Vault::open(&KeySource::File(path), elsewhere.path(), true, entropy()).unwrap()
}

fn file(byte: u8) -> FileId {
    FileId::from_bytes([byte; 16])
}

fn refused(source: &KeySource, data: &Path, existing: bool) -> Issue {
    Vault::open(source, data, existing, entropy()).expect_err("this source is to be refused")
}

#[test]
fn a_wrapped_key_opens_for_its_file_and_for_no_other() {
    let vault = vault_of(KEY_A);
    let key = DataKey::random(&SystemEntropy);
    let wrapped = vault.wrap(file(1), &key).unwrap();
    assert_eq!(vault.unwrap(file(1), &wrapped).unwrap().expose(), key.expose());
    assert_eq!(vault.unwrap(file(2), &wrapped).unwrap_err(), KeyError::Damaged);
    assert!(!wrapped.as_bytes().windows(8).any(|part| key.expose().windows(8).any(|secret| secret == part)));
}

#[test]
fn wrapping_twice_gives_nothing_in_common_after_the_key_id() {
    let vault = vault_of(KEY_A);
    let key = DataKey::random(&SystemEntropy);
    let (one, two) = (vault.wrap(file(1), &key).unwrap(), vault.wrap(file(1), &key).unwrap());
    assert_eq!(one.key_id(), two.key_id());
    assert!(one.as_bytes()[9..33] != two.as_bytes()[9..33] && one.as_bytes()[33..] != two.as_bytes()[33..]);
}

#[test]
fn every_flipped_bit_and_every_shorter_text_is_found() {
    let vault = vault_of(KEY_A);
    let sealed = vault.seal_secret(SecretKind::LinkKey, "k1", b"a secret of the server").unwrap();
    for bit in 0..sealed.len() * 8 {
        let mut changed = sealed.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(vault.open_secret(SecretKind::LinkKey, "k1", &changed).is_err(), "bit {bit}");
    }
    for length in 0..sealed.len() {
        assert!(vault.open_secret(SecretKind::LinkKey, "k1", &sealed[..length]).is_err(), "length {length}");
    }
}

#[test]
fn a_secret_opens_for_its_purpose_and_id_only() {
    let vault = vault_of(KEY_A);
    let sealed = vault.seal_secret(SecretKind::TokenSigningKey, "k1", b"pem").unwrap();
    let opened = vault.open_secret(SecretKind::TokenSigningKey, "k1", &sealed).unwrap();
    assert_eq!(opened.expose_secret(), b"pem");
    for (kind, id) in [(SecretKind::TokenSigningKey, "k2"), (SecretKind::LinkKey, "k1"), (SecretKind::LinkKey, "")] {
        assert_eq!(vault.open_secret(kind, id, &sealed).err(), Some(KeyError::Damaged));
    }
    // A file key is no secret of the server, even of the same length.
    let wrapped = vault.wrap(file(1), &DataKey::random(&SystemEntropy)).unwrap();
    assert!(vault.open_secret(SecretKind::LinkKey, "", wrapped.as_bytes()).is_err());
}

#[test]
fn after_rotation_old_keys_open_and_new_ones_seal() {
    let old = vault_of(KEY_A);
    let key = DataKey::random(&SystemEntropy);
    let wrapped = old.wrap(file(1), &key).unwrap();
    let both = vault_of(&format!("# rotated\n{KEY_B}\n\n{KEY_A}\r\n{KEY_B}"));
    assert_eq!(both.key_ids().count(), 2);
    let moved = both.rewrap(file(1), &wrapped).unwrap().unwrap();
    assert_eq!(moved.key_id(), both.current_key());
    assert!(both.rewrap(file(1), &moved).unwrap().is_none());
    let new = vault_of(KEY_B);
    assert_eq!(new.unwrap(file(1), &moved).unwrap().expose(), key.expose());
    assert_eq!(new.unwrap(file(1), &wrapped).unwrap_err(), KeyError::Missing(old.current_key()));
}

#[test]
fn a_key_that_is_needed_and_not_there_is_named() {
    let (old, new) = (vault_of(KEY_A), vault_of(KEY_B));
    let issue = new.require([(new.current_key(), 3), (old.current_key(), 12)]).unwrap_err();
    assert_eq!(issue.code(), Code::KeyMissing);
    assert!(issue.message().contains(&old.current_key().to_string()) && issue.message().contains("12"));
    assert!(new.require([(new.current_key(), 3)]).is_ok());
}

#[test]
fn a_key_is_made_in_an_empty_folder_once_and_private() {
    let data = tempfile::tempdir().unwrap();
    let made = Vault::open(&KeySource::Folder, data.path(), false, entropy()).unwrap();
    assert!(made.beside_data());
    let path = data.path().join("keys/encryption.key");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(fs::metadata(data.path().join("keys")).unwrap().permissions().mode() & 0o7777, 0o700);
    let again = Vault::open(&KeySource::Folder, data.path(), false, entropy()).unwrap();
    let later = Vault::open(&KeySource::Folder, data.path(), true, entropy()).unwrap();
    assert_eq!((made.current_key(), made.current_key()), (again.current_key(), later.current_key()));
    assert_eq!(fs::read_dir(data.path().join("keys")).unwrap().count(), 1);
}

#[test]
fn no_key_is_made_beside_existing_data() {
    let data = tempfile::tempdir().unwrap();
    let issue = refused(&KeySource::Folder, data.path(), true);
    assert_eq!(issue.code(), Code::FolderUnsafe);
    assert!(issue.message().contains("is missing"));
    assert_eq!(fs::read_dir(data.path()).unwrap().count(), 0);
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("k");
    for mode in [0o640, 0o604, 0o620, 0o660, 0o644] {
        write_key(&path, KEY_A, mode);
        let issue = refused(&KeySource::File(path.clone()), folder.path(), false);
        assert!(issue.message().contains("read by others") && issue.cure().contains("chmod 600"), "{mode:o}");
    }
    write_key(&path, KEY_A, 0o400);
    assert!(Vault::open(&KeySource::File(path), folder.path(), false, entropy()).unwrap().beside_data());
}

#[test]
fn what_is_not_a_file_is_refused_without_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
    assert_eq!(refused(&KeySource::File(fifo), folder.path(), false).code(), Code::FolderUnsafe);
    assert_eq!(refused(&KeySource::File(folder.path().into()), folder.path(), false).code(), Code::FolderUnsafe);
    // The folder's own key is never a link to somewhere else.
    fs::create_dir(folder.path().join("keys")).unwrap();
    write_key(&folder.path().join("real"), KEY_A, 0o600);
    std::os::unix::fs::symlink(folder.path().join("real"), folder.path().join("keys/encryption.key")).unwrap();
    assert_eq!(refused(&KeySource::Folder, folder.path(), false).code(), Code::FolderUnsafe);
}

#[test]
fn a_malformed_line_is_named_by_its_number_and_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("k");
    let secret = "c2VjcmV0c2VjcmV0c2VjcmV0";
    for bad in [
        format!("{KEY_A}\n{secret}"),
        format!("{KEY_A}\ndaylily-key-v1 {secret}"),
        format!("{KEY_A}\ndaylily-key-v2 {}", &KEY_A[15..]),
        format!("{KEY_A}\n{KEY_B}="),
        format!("{KEY_A}\n{KEY_B} {secret}"),
    ] {
        write_key(&path, &bad, 0o600);
        let issue = refused(&KeySource::File(path.clone()), folder.path(), false);
        assert!(issue.message().contains("line 2") && !format!("{issue:?}{}", issue.cure()).contains(secret));
    }
    for empty in ["", "# nothing\n\n"] {
        write_key(&path, empty, 0o600);
        assert!(refused(&KeySource::File(path.clone()), folder.path(), false).message().contains("no key"));
    }
}

#[test]
fn a_command_gives_keys_by_its_output_and_without_a_shell() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("k");
    write_key(&path, KEY_A, 0o600);
    let source = KeySource::command(&format!("cat {}", path.display())).unwrap();
    let vault = Vault::open(&source, folder.path(), true, entropy()).unwrap();
    assert!(!vault.beside_data());
    assert_eq!(vault.current_key(), vault_of(KEY_A).current_key());
    for bad in ["false", "true", "no-such-program-here", "cat /dev/zero", "echo $HOME; true"] {
        let issue = refused(&KeySource::command(bad).unwrap(), folder.path(), true);
        assert_eq!(issue.code(), Code::FolderUnsafe, "{bad}");
    }
    assert_eq!(KeySource::command("  "), None);
}

#[test]
fn nothing_prints_a_key() {
    let vault = vault_of(KEY_A);
    let key = DataKey::from_slice(&[7; 32]).unwrap();
    let text = format!("{vault:?} {key:?} {:?}", vault.wrap(file(1), &key).unwrap());
    assert!(text.contains("***") && !text.contains("7, 7") && !text.contains("AAAA"));
}

#[test]
fn random_bytes_differ() {
    let (mut one, mut two) = ([0; 32], [0; 32]);
    SystemEntropy.fill(&mut one);
    SystemEntropy.fill(&mut two);
    assert!(one != two && one != [0; 32]);
}
