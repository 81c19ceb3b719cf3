//! Vectors of the log's design, computed by an independent program: RFC 6962 reference leaves, numbered leaves, `DAL1` leaves,
//! proofs, and a checkpoint with a witness's cosignature.

use super::action::{Action, Outcome};
use super::cell::{CellKey, Cells, Group, PlainCell, commit};
use super::leaf::{Leaf, Prepared};
use super::note::{Checkpoint, NoteError, SignedCheckpoint};
use super::proof::{consistency, includes, inclusion, is_consistent, root_at};
use super::tree::{Frontier, Hash, empty_root, leaf_hash};
use super::vkey::{SigningKey, VerifyingKey};

fn hash(text: &str) -> Hash {
    hex::decode(text).unwrap().try_into().unwrap()
}

fn hashes(texts: &[&str]) -> Vec<Hash> {
    texts.iter().map(|text| hash(text)).collect()
}

fn root_of(leaves: &[Hash]) -> Hash {
    leaves.iter().copied().collect::<Frontier>().root()
}

const REFERENCE_LEAVES: [&str; 8] =
    ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];

const REFERENCE_ROOTS: [(usize, &str); 9] = [
    (0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
    (1, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
    (2, "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"),
    (3, "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"),
    (4, "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"),
    (5, "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4"),
    (6, "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef"),
    (7, "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c"),
    (8, "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"),
];

const NUMBERED_ROOTS: [(usize, &str); 8] = [
    (1, "5098100590052cb4c71e93635c2b24458062502fbc408dbcc69e105ae054d3a8"),
    (2, "74d66a88776f9f13759a28d1be7d70adecb74962fb16e91f3a5ee56d8f37d63e"),
    (3, "f0c178b3ae16115a2505d61fafdcb37100ff5d108029e4a728000eb17c264335"),
    (7, "58911bda0d3f65f251df3bf3a8693c8c3f3b61016342bbe0f541556cb3300c5e"),
    (255, "5ba2dc5061c8328e2be6312131c548166b95adc9d6140e1212a456bc8f489fc0"),
    (256, "bba05bb858a1b6b4daa28cd49de62ae258c88f50e334c523e4653f9185466546"),
    (257, "75e3ed677bae5818bc6ccde3e6e5f04842f87588f67c5ad2b6c6fe8051b12d28"),
    (1000, "ca737acf49f27b283560e61e0112f29e5f31951d264b474f97dd7e92061a63d2"),
];

const INCLUSION_5_IN_8: [&str; 3] = [
    "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
];

const INCLUSION_1_IN_5: [&str; 3] = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
    "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
];

const CONSISTENCY_6_TO_8: [&str; 3] = [
    "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
];

const CONSISTENCY_2_TO_5: [&str; 2] = [
    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
    "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
];

const FRONTIER_OF_7: [&str; 3] = [
    "c89dd21393351618ec1a51435993dc6f0563da47bd793fc9819130864b97bc85",
    "f631f3990c5a7c494954486f2371ca131e9f2dfacc02c1ac0bf4d88676e40081",
    "565be2039aebe869a29f201c1ec30d0871479f807007459b691bcefacabc26e2",
];

struct LeafVector {
    action: Action,
    outcome: Outcome,
    /// Salt, data, commitment of actor, subject, tech.
    groups: [(&'static str, &'static str, &'static str); 3],
    commitment: &'static str,
    body: &'static str,
    hash: &'static str,
}

const LEAVES: [LeafVector; 3] = [
    LeafVector {
        action: Action::DocumentCreate,
        outcome: Outcome::Ok,
        groups: [
            (
                "157d29157ecea04f55ae235117d8a24c4ecba338046caad50440b5b8859717f1",
                "{\"client\":\"app-1\",\"sub\":\"Practitioner/7\"}",
                "6368600f547c31654a1d9ae952ee1fe1bf4086e96c67adb64ab39a92a53556ab",
            ),
            (
                "f33763b25de081267d5ce171c160567cd2594a18c6f0c9e32dd34b574ecf78a7",
                "{\"doc\":\"d-1\",\"patient\":\"Patient/42\"}",
                "3af34978d9287635fe0a268f199d14e11d1979c2410a38bffba853e971e78178",
            ),
            (
                "5c19a02f67c04ccbdead889f3bc224b2b9f0e4a9473722038c3b6b7f684c9d7b",
                "{\"ip\":\"203.0.113.9\"}",
                "9274c5d5ff05cc101a075b97a08bc71bedb458bbd8e53ee3685ea4289766aee0",
            ),
        ],
        commitment: "a5df7994f6a151c2f4a2bcf328a68c855791481d17396af29ea740225e066df2",
        body: "44414c31000000000000000000064748462040000000000274310000000f646f63756d656e742e637265617465000000026f6ba5df7994f6a151c2f4a2bcf328a68c855791481d17396af29ea740225e066df2",
        hash: "d8aae37d81649556080601e787fb375e053391f27f0a610c4d2b1aef74238d39",
    },
    LeafVector {
        action: Action::LinkIssue,
        outcome: Outcome::Ok,
        groups: [
            (
                "db0688c54f4963b125603b2f8546ac04ef1e9e247cbc5bd5580e8f866f451c38",
                "{\"client\":\"app-1\",\"sub\":\"Practitioner/7\"}",
                "39a05ddf8d742012663a52aa06d3c5e8587814e46ae403d5c317c13b29efeca7",
            ),
            (
                "839420e63a757f09ded716514892bcee8330f24b1c28d5b559025d7d2dae1420",
                "{\"doc\":\"d-1\",\"link\":\"l-1\",\"patient\":\"Patient/42\"}",
                "cd100f10bf1f38b7234691a4fefe9e04c809635a567ecc6646fdff038bd3757e",
            ),
            (
                "79dcc8f74d5f9dc8f6ecde4924c9c84b7095a388d8d548b841d2a6c835551c96",
                "{\"ip\":\"203.0.113.9\"}",
                "495c1c8867ef12801ae70136799dee9a066e10c2ab91e92c84ca3b89bdfed02e",
            ),
        ],
        commitment: "9f84b1ae9844a6d918dcc69a9c78227e516da751ba7ec0ec9beada1cfcb243c0",
        body: "44414c31000000000000000100064748462043e80000000274310000000a6c696e6b2e6973737565000000026f6b9f84b1ae9844a6d918dcc69a9c78227e516da751ba7ec0ec9beada1cfcb243c0",
        hash: "1f1448aa1f920ad67dd0e508a2ad296d8b0cdcd9a579d27ff3e08240f0c8c8fe",
    },
    LeafVector {
        action: Action::LinkRedeem,
        outcome: Outcome::Denied,
        groups: [
            (
                "1004bf8d9d46fd9d976941c0296e3d1f13fa37384c43bc22ae2b9d01c3f19ad7",
                "{}",
                "465b2f1a4cb0dc30b95dd2f280957eb1f31e8ae1c69a5eec255b4ee5e7665538",
            ),
            (
                "5237a9b52900ff78e56745a2256b93b90f39236de2c652265152a1a14d760d4c",
                "{\"link\":\"l-1\"}",
                "b17c2570f18fadc5262d754450779a85778f5eee398936649e4b3277fae09c56",
            ),
            (
                "2097cb0ece34d30a418ffcd5816005bf9acad149be58ce6de8f7764a004337e1",
                "{\"ip\":\"198.51.100.4\"}",
                "e4620694ac386f6375f0a9ec763a65076507e24a451e5d80425d03db33b0d1c4",
            ),
        ],
        commitment: "d5d2cc8884b81d636999d56a5ad332ebd7fcf0c31b0d473a8dc995302bd5788c",
        body: "44414c31000000000000000200064748462047d00000000274310000000b6c696e6b2e72656465656d0000000664656e696564d5d2cc8884b81d636999d56a5ad332ebd7fcf0c31b0d473a8dc995302bd5788c",
        hash: "aa85e2cbbb827f7ac2d9a7ec4a8dcf0f33f3aed7c06d1c44f6f7d116aa382889",
    },
];

const LEAF_ROOTS: [&str; 4] = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "d8aae37d81649556080601e787fb375e053391f27f0a610c4d2b1aef74238d39",
    "e31c7e0de45bef8800d4701a7e71b37d75a23e069fad9a79692c9911701156aa",
    "3233e504f5f484c53df8b01fdda8c1b67382e87ad2b133d6713710b86d6566ba",
];

const LEAF_1_IN_3: [&str; 2] = [
    "d8aae37d81649556080601e787fb375e053391f27f0a610c4d2b1aef74238d39",
    "aa85e2cbbb827f7ac2d9a7ec4a8dcf0f33f3aed7c06d1c44f6f7d116aa382889",
];

const LEAVES_1_TO_3: [&str; 2] = [
    "1f1448aa1f920ad67dd0e508a2ad296d8b0cdcd9a579d27ff3e08240f0c8c8fe",
    "aa85e2cbbb827f7ac2d9a7ec4a8dcf0f33f3aed7c06d1c44f6f7d116aa382889",
];

const FALSE_ROOTS: [&str; 3] = [
    "0c4a519327e386b219880f3417c8ea91ea9a8351cbedd50aaaa299d6bbfafb34",
    "2e1c2f4fee264ec100bb02ee05ceede7ef548c4dd29a0dd054157a9606bc598d",
    "63fb77f19699b22f56d03d97145afec2cf02f1b3387e781ac0b8aaa6a6919829",
];

const LOG_SEED: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const LOG_KEY: &str = "daylily.example/audit/1+11e0cfca+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4";
const WITNESS_KEY: &str = "witness.example/w1+20324abe+BCmsuuFBvMrwsi4alNNNC8c2HlJtC/4SyJeUvJMilm3X";
const NOTE: [&str; 6] = [
    "daylily.example/audit/1",
    "3",
    "MjPlBPX0hMU9+LAf3ajBtnOC6HrSsTPWcTcQuG1lZro=",
    "",
    "\u{2014} daylily.example/audit/1 EeDPyirZaddW/6X5IF0XTT5NRqlmHGYriNaeQRxlZDHrp9RkpYLxDBHugibrwwgVq8K3gx8ZqFbWn8b0FF72MwysoQU=",
    "\u{2014} witness.example/w1 IDJKvgAAAABpVblkGy8CrQ2057X2pLq9hS431hwlMMotHX0KdQrx6TnXJnRz54auboXAbz2IeR0cKG29uPqC7kybz2RlSFnfm5YkCA==",
];

#[test]
fn the_reference_leaves_of_rfc_6962_have_their_roots_and_proofs() {
    let leaves: Vec<Hash> = REFERENCE_LEAVES.iter().map(|leaf| leaf_hash(&hex::decode(leaf).unwrap())).collect();
    for (size, root) in REFERENCE_ROOTS {
        assert_eq!(root_of(&leaves[..size]), hash(root), "{size}");
    }
    assert_eq!(empty_root(), hash(REFERENCE_ROOTS[0].1));
    let leaf = |at: u64| leaves.get(usize::try_from(at).unwrap()).copied();
    assert_eq!(inclusion(5, 8, leaf), Some(hashes(&INCLUSION_5_IN_8)));
    assert_eq!(inclusion(1, 5, leaf), Some(hashes(&INCLUSION_1_IN_5)));
    assert_eq!(consistency(6, 8, leaf), Some(hashes(&CONSISTENCY_6_TO_8)));
    assert_eq!(consistency(2, 5, leaf), Some(hashes(&CONSISTENCY_2_TO_5)));
    assert!(includes(&leaves[5], 5, 8, &hashes(&INCLUSION_5_IN_8), &hash(REFERENCE_ROOTS[8].1)));
    let (six, eight) = (hash(REFERENCE_ROOTS[6].1), hash(REFERENCE_ROOTS[8].1));
    assert!(is_consistent(6, 8, &six, &eight, &hashes(&CONSISTENCY_6_TO_8)));
}

#[test]
fn numbered_leaves_have_their_roots() {
    let leaf = |at: u64| Some(leaf_hash(format!("daylily-{at}").as_bytes()));
    let mut frontier = Frontier::new();
    for at in 0..1000 {
        frontier.append(leaf(at).unwrap());
        if let Some((_, root)) = NUMBERED_ROOTS.iter().find(|(size, _)| *size as u64 == at + 1) {
            assert_eq!(frontier.root(), hash(root), "{at}");
        }
        if at + 1 == 7 {
            assert_eq!(frontier.roots(), hashes(&FRONTIER_OF_7));
        }
    }
    assert_eq!(root_at(1000, leaf), Some(frontier.root()));
    assert_eq!(inclusion(500, 1000, leaf).unwrap().len(), 10);
    assert_eq!(consistency(7, 1000, leaf).unwrap().len(), 11);
}

fn prepared(vector: &LeafVector) -> Prepared {
    let groups = [Group::Actor, Group::Subject, Group::Tech];
    let cells = groups.into_iter().zip(vector.groups).map(|(group, (salt, data, _))| PlainCell {
        group,
        salt: hash(salt),
        data: data.as_bytes().to_vec(),
    });
    Prepared::of_cells(vector.action, vector.outcome, cells.collect())
}

#[test]
fn entries_have_their_commitments_bodies_and_hashes() {
    let key = CellKey::new(&[1; 32]);
    for (seq, vector) in (0u64..).zip(&LEAVES) {
        for (group, (salt, data, commitment)) in
            [Group::Actor, Group::Subject, Group::Tech].into_iter().zip(vector.groups)
        {
            assert_eq!(commit(group, &hash(salt), data.as_bytes()), hash(commitment));
        }
        let prepared = prepared(vector);
        let leaf = prepared.leaf(seq, 1_767_225_600_000_000 + seq * 1000, "t1");
        assert_eq!(leaf.commitment, hash(vector.commitment));
        assert_eq!(hex::encode(leaf.encode()), vector.body);
        assert_eq!(leaf.hash(), hash(vector.hash));
        assert_eq!(Leaf::decode(&hex::decode(vector.body).unwrap()), Ok(leaf));
        let stored = prepared.seal(&key).unwrap();
        assert_eq!(Cells::decode(&stored).unwrap().commitment(&key), Ok(hash(vector.commitment)));
    }
}

#[test]
fn the_three_entries_have_their_roots_and_changed_ones_have_others() {
    let leaves: Vec<Hash> = LEAVES.iter().map(|vector| hash(vector.hash)).collect();
    for (size, root) in LEAF_ROOTS.iter().enumerate() {
        assert_eq!(root_of(&leaves[..size]), hash(root));
    }
    let leaf = |at: u64| leaves.get(usize::try_from(at).unwrap()).copied();
    assert_eq!(inclusion(1, 3, leaf), Some(hashes(&LEAF_1_IN_3)));
    assert_eq!(consistency(1, 3, leaf), Some(hashes(&LEAVES_1_TO_3)));
    let edited = Leaf { outcome: Outcome::Ok, ..prepared(&LEAVES[2]).leaf(2, 1_767_225_600_002_000, "t1") };
    let wrong = [
        root_of(&[leaves[1], leaves[0], leaves[2]]),
        root_of(&[leaves[0], leaves[2]]),
        root_of(&[leaves[0], leaves[1], edited.hash()]),
    ];
    assert_eq!(wrong.to_vec(), hashes(&FALSE_ROOTS));
    assert!(!wrong.contains(&hash(LEAF_ROOTS[3])));
}

#[test]
fn the_checkpoint_is_signed_and_cosigned_as_published() {
    let seed = hex::decode(LOG_SEED).unwrap().try_into().unwrap();
    let (log, origin) = (VerifyingKey::parse(LOG_KEY).unwrap(), "daylily.example/audit/1");
    let signing = SigningKey::from_seed(origin, &seed).unwrap();
    assert_eq!((signing.verifying_key(), log.to_string().as_str()), (&log, LOG_KEY));
    let checkpoint = Checkpoint { origin: origin.to_owned(), size: 3, root: hash(LEAF_ROOTS[3]) };
    let note = NOTE.iter().map(|line| format!("{line}\n")).collect::<String>();
    let own: String = note.split_inclusive('\n').take(5).collect();
    assert_eq!(checkpoint.sign(&[&signing]), own);
    let parsed = SignedCheckpoint::parse(note.as_bytes()).unwrap();
    assert_eq!(parsed.unverified(), &checkpoint);
    let keys = [log, VerifyingKey::parse(WITNESS_KEY).unwrap()];
    assert_eq!(parsed.signers(&keys), Ok(vec![&keys[0], &keys[1]]));
    for root in FALSE_ROOTS {
        let false_text = Checkpoint { root: hash(root), ..checkpoint.clone() }.text();
        let forged = note.replace(&checkpoint.text(), &false_text);
        assert_eq!(SignedCheckpoint::parse(forged.as_bytes()).unwrap().signers(&keys), Err(NoteError::BadSignature));
    }
}
