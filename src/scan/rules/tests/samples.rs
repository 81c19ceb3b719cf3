//! Files made in code, by writers that are not the reader under test.

use std::io::{Cursor, Write};

use ::zip::write::SimpleFileOptions;
use ::zip::{CompressionMethod, ZipWriter};
use base64::Engine as _;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};

pub(super) fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    packed(entries, CompressionMethod::Deflated)
}

pub(super) fn zip_stored(entries: &[(&str, &[u8])]) -> Vec<u8> {
    packed(entries, CompressionMethod::Stored)
}

fn packed(entries: &[(&str, &[u8])], method: CompressionMethod) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in entries {
        writer.start_file(*name, SimpleFileOptions::default().compression_method(method)).expect("entry");
        writer.write_all(content).expect("content");
    }
    writer.finish().expect("archive").into_inner()
}

/// One entry that the directory names twice.
pub(super) fn overlapping() -> Vec<u8> {
    let whole = zip(&[("a.txt", b"some text")]);
    let at = |magic: &[u8]| whole.windows(4).position(|part| part == magic).expect("record");
    let (central, end) = (at(b"PK\x01\x02"), at(b"PK\x05\x06"));
    [&whole[..end], &whole[central..]].concat()
}

pub(super) fn deflated(content: &[u8]) -> Vec<u8> {
    let mut writer = ZlibEncoder::new(Vec::new(), Compression::default());
    writer.write_all(content).expect("content");
    writer.finish().expect("stream")
}

pub(super) fn gzip(content: &[u8]) -> Vec<u8> {
    let mut writer = GzEncoder::new(Vec::new(), Compression::default());
    writer.write_all(content).expect("content");
    writer.finish().expect("stream")
}

pub(super) fn base64(content: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(content)
}

/// A tar archive by the field offsets of POSIX.1-2017, pax, "ustar Interchange Format".
pub(super) fn tar(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (name, content) in entries {
        let mut header = [0u8; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
        header[148..156].copy_from_slice(b"        ");
        header[156] = b'0';
        header[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        archive.extend_from_slice(&header);
        archive.extend_from_slice(content);
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive.resize(archive.len() + 1024, 0);
    archive
}

/// The start of a Windows program.
pub(super) fn pe() -> Vec<u8> {
    let mut program = b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff\0\0".to_vec();
    program.resize(60, 0);
    program.extend_from_slice(b"\x40\0\0\0PE\0\0");
    program
}

/// A PDF with these objects: dictionary, and stream if any.
pub(super) fn pdf(objects: &[(&str, Option<&[u8]>)]) -> Vec<u8> {
    let mut file = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n".to_vec();
    for (at, (dictionary, stream)) in objects.iter().enumerate() {
        file.extend_from_slice(format!("{} 0 obj\n{dictionary}\n", at + 1).as_bytes());
        if let Some(stream) = stream {
            file.extend_from_slice(b"stream\r\n");
            file.extend_from_slice(stream);
            file.extend_from_slice(b"\nendstream\n");
        }
        file.extend_from_slice(b"endobj\n");
    }
    file.extend_from_slice(b"trailer\n<</Root 1 0 R /Size 9>>\nstartxref\n0\n%%EOF\n");
    file
}

/// A compound file with one directory entry of this name in its second sector ([MS-CFB] 2.6.1).
pub(super) fn compound(name: &str) -> Vec<u8> {
    let mut file = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".to_vec();
    file.resize(512, 0);
    let mut entry: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let length = u16::try_from(entry.len() + 2).expect("short");
    entry.resize(64, 0);
    entry.extend_from_slice(&length.to_le_bytes());
    entry.push(2);
    entry.resize(128, 0);
    file.extend_from_slice(&entry);
    file.resize(1024, 0);
    file
}
