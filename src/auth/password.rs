//! Passwords of people: how they are hashed and checked. Argon2id with the second recommended option of RFC 9106, section 4
//! (64 MiB, 3 passes, 4 lanes), as PHC strings, so that the cost can rise later without touching what is stored. Who may try, how
//! often, is not decided here.

use argon2::password_hash::SaltString;
use argon2::{Algorithm, Argon2, Params, PasswordHash, PasswordHasher, PasswordVerifier, Version};

use crate::domain::clock::Entropy;
use crate::domain::operator::Password;
use crate::domain::refusal::{Code, Refusal};

/// KiB of memory.
const MEMORY: u32 = 64 * 1024;
/// Passes over it.
const PASSES: u32 = 3;
/// Lanes.
const LANES: u32 = 4;
/// Salt (RFC 9106, 3.1: 16 bytes are recommended).
const SALT: usize = 16;

fn argon2() -> Result<Argon2<'static>, Refusal> {
    let params = Params::new(MEMORY, PASSES, LANES, None).map_err(|_| Refusal::of(Code::ServerFault))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// Hashes a new password. Slow on purpose: not on a thread that serves.
///
/// # Errors
/// `server-fault` when there is no memory for it.
pub fn hash(password: &Password, entropy: &dyn Entropy) -> Result<String, Refusal> {
    let fault = || Refusal::of(Code::ServerFault);
    let mut salt = [0; SALT];
    entropy.fill(&mut salt);
    let salt = SaltString::encode_b64(&salt).map_err(|_| fault())?;
    let hash = argon2()?.hash_password(password.reveal().as_bytes(), &salt).map_err(|_| fault())?;
    Ok(hash.to_string())
}

/// Whether a password is the one that was hashed. `None` takes as long as a hash made here and is never right, so that time does not tell
/// which ids there are. Slow on purpose, as [`hash`].
pub fn is_right(password: &Password, hashed: Option<&str>) -> bool {
    let Ok(argon2) = argon2() else { return false };
    match hashed.map(PasswordHash::new) {
        Some(Ok(hash)) => argon2.verify_password(password.reveal().as_bytes(), &hash).is_ok(),
        Some(Err(_)) | None => {
            let mut out = [0; 32];
            let _ = argon2.hash_password_into(password.reveal().as_bytes(), &[0; SALT], &mut out);
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::SystemEntropy;

    #[test]
    fn a_hash_is_argon2id_with_the_recommended_cost_and_salt_and_knows_its_password() {
        let password = Password::claimed("violet oil on the window");
        let (one, two) = (hash(&password, &SystemEntropy).unwrap(), hash(&password, &SystemEntropy).unwrap());
        assert!(one.starts_with("$argon2id$v=19$m=65536,t=3,p=4$"), "{one}");
        assert_ne!(one, two, "each has a salt of its own");
        assert!(is_right(&password, Some(&one)) && is_right(&password, Some(&two)));
        assert!(!is_right(&Password::claimed("violet oil on the Window"), Some(&one)));
        assert!(!is_right(&password, None) && !is_right(&password, Some("not a hash")));
    }

    /// The Argon2id vector of the reference implementation (phc-winner-argon2, test.c: v=0x13, t=2, m=2^16, p=1, "password",
    /// "somesalt").
    #[test]
    fn a_hash_of_the_reference_implementation_is_known() {
        let reference = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        assert!(is_right(&Password::claimed("password"), Some(reference)));
        assert!(!is_right(&Password::claimed("Password"), Some(reference)));
    }
}
