//! The server's own secrets: link keys, token signing key, seed of the checkpoint key, master key of the audit cells, cursor key. Made at
//! the first start, sealed by the vault, kept in the store with an audit entry each. A secret that does not open is never made anew:
//! a new one beside old data would look like health and be loss.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::encoding::AsBigEndian as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use secrecy::{ExposeSecret, SecretSlice};
use zeroize::Zeroizing;

use super::failure::StartFailure;
use crate::delivery::Recorder;
use crate::domain::audit::{Action, CellKey, Entry, Outcome, SigningKey};
use crate::domain::clock::{Entropy, Timestamp};
use crate::domain::content::KeyError;
use crate::domain::refusal::{Code, Issue};
use crate::store::{SealedKey, Store};
use crate::vault::{SecretKind, Vault};
