//! The harmless file that every scanner must find (eicar.org, "Anti-Malware Testfile", 68 bytes). It stands nowhere whole: not in
//! this source, and not in the program made from it, which other scanners look at.

/// What each byte is altered by at compile time.
const VEIL: u8 = 0x55;

const FIRST: [u8; 34] = veiled(b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-");
const SECOND: [u8; 34] = veiled(b"STANDARD-ANTIVIRUS-TEST-FILE!$H+H*");

const fn veiled<const N: usize>(text: &[u8; N]) -> [u8; N] {
    let mut bytes = *text;
    let mut rest: &mut [u8] = &mut bytes;
    while let Some((byte, others)) = rest.split_first_mut() {
        *byte ^= VEIL;
        rest = others;
    }
    bytes
}

/// The test file's bytes.
pub fn harmless_test_file() -> Vec<u8> {
    // Hidden from the optimizer, which would put the halves together at compile time.
    let veil = std::hint::black_box(VEIL);
    FIRST.iter().chain(&SECOND).map(|byte| byte ^ veil).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_published_file() {
        // The MD5 and SHA-1 that eicar.org's file has are widely published; SHA-256 is the one that needs no extra code here.
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &harmless_test_file());
        assert_eq!(hex::encode(digest), "275a021bbfb6489e54d471899f7db9d1663fc695ec2fe2a2c4538aabf651fd0f");
    }
}
