//! The built application: made once, the same in every run, with the names and sizes that a build has.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use bytes::Bytes;

use super::{filler, page};
use crate::demo::digest::short_hash;

/// When the build was made.
pub(super) const MODIFIED: &str = "Thu, 18 Dec 2025 00:00:00 GMT";
const MODIFIED_MS: u64 = 1_766_016_000_000;

/// Sizes of the files whose sizes matter to somebody, bytes.
pub(super) const PAGE_SIZE: usize = 1_307;
pub(super) const SCRIPT_SIZE: usize = 550_206;
pub(super) const STYLE_SIZE: usize = 59_496;
pub(super) const IMAGE_SIZE: usize = 269_887;
pub(super) const ICON_SIZE: usize = 964;

/// The scripts that are loaded with the main one, and their sizes.
const PRELOADED: [(&str, usize); 3] = [("react-vendor", 141_376), ("router", 21_904), ("icons", 18_211)];

/// The scripts that are loaded when they are needed, and their sizes.
const LAZY: [(&str, usize); 37] = [
    ("About", 5_871),
    ("AdminDashboard", 24_306),
    ("AffiliateManager", 9_114),
    ("Analytics", 17_248),
    ("Badge", 612),
    ("BulkOperations", 8_930),
    ("Button", 1_204),
    ("Card", 884),
    ("CategoryFilter", 3_376),
    ("Checkbox", 702),
    ("Comparison", 7_455),
    ("Comparisons", 6_018),
    ("Contact", 4_927),
    ("CookiePolicy", 7_702),
    ("Dashboard", 13_861),
    ("DealCard", 5_240),
    ("DealDetail", 16_733),
    ("Dialog", 2_115),
    ("Hot", 2_406),
    ("NotificationCenter", 8_147),
    ("Popular", 2_418),
    ("PrivacyPolicy", 11_023),
    ("Profile", 9_660),
    ("Reviews", 8_371),
    ("Search", 14_092),
    ("SearchHistory", 3_004),
    ("Select", 3_811),
    ("Skeleton", 421),
    ("Stores", 3_925),
    ("SubmitDeal", 12_576),
    ("Subscriptions", 9_207),
    ("Table", 1_633),
    ("Tabs", 1_348),
    ("Talking", 2_422),
    ("TermsOfService", 10_388),
    ("Tooltip", 1_102),
    ("x", 310),
];

/// A file.
#[derive(Debug)]
pub(super) struct File {
    pub(super) media_type: &'static str,
    pub(super) body: Bytes,
}

impl File {
    fn new(media_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self {
            media_type,
            body: body.into(),
        }
    }

    /// Its weak entity tag: size and time.
    pub(super) fn tag(&self) -> String {
        format!("W/\"{}-{MODIFIED_MS}\"", self.body.len())
    }
}

/// All files.
#[derive(Debug)]
pub(super) struct Site {
    page: File,
    files: BTreeMap<String, File>,
}

/// The site; the first call makes it.
pub(super) fn site() -> &'static Site {
    static SITE: OnceLock<Site> = OnceLock::new();
    SITE.get_or_init(Site::build)
}

impl Site {
    /// What answers this path: a file, the page where the path has no extension, or nothing.
    pub(super) fn find(&self, path: &str) -> Option<&File> {
        let name = path.rsplit('/').next().unwrap_or_default();
        let has_extension = name.rsplit_once('.').is_some_and(|(_, extension)| {
            !extension.is_empty()
                && extension
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        });
        if path == "/index.html" {
            return Some(&self.page);
        }
        self.files.get(path).or_else(|| (!has_extension).then_some(&self.page))
    }

    /// The paths of the files, the page not among them.
    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    fn build() -> Self {
        const SCRIPT: &str = "application/javascript";
        let mut files = BTreeMap::new();
        let script = asset("index", "js");
        let style = asset("index", "css");
        let preloaded = PRELOADED.map(|(name, _)| asset(name, "js"));
        files.insert(
            script.clone(),
            File::new(SCRIPT, filler::padded(page::SCRIPT, SCRIPT_SIZE, 1)),
        );
        files.insert(
            style.clone(),
            File::new("text/css", filler::padded(page::STYLE, STYLE_SIZE, 2)),
        );
        for (seed, (name, size)) in (10..).zip(PRELOADED.into_iter().chain(LAZY)) {
            let body = filler::padded(&format!("export const name=\"{name}\";\n"), size, seed);
            files.insert(asset(name, "js"), File::new(SCRIPT, body));
        }
        let mut add = |path: &str, media_type, body: Bytes| files.insert(path.to_owned(), File::new(media_type, body));
        add("/Deal247.png", "image/png", filler::image(IMAGE_SIZE).into());
        add(
            "/pwa-icon.svg",
            "image/svg+xml",
            filler::padded_markup(page::ICON, "</svg>\n", ICON_SIZE).into(),
        );
        add("/manifest.json", "application/json", page::MANIFEST.into());
        add(
            "/manifest.webmanifest",
            "application/manifest+json",
            page::MANIFEST.into(),
        );
        add("/registerSW.js", SCRIPT, page::REGISTER_WORKER.into());
        let workbox = format!("/workbox-{}.js", short_hash("workbox"));
        add(
            &workbox,
            SCRIPT,
            filler::padded("export const name=\"workbox\";\n", 15_093, 3).into(),
        );
        let precached: Vec<&str> = files.keys().map(String::as_str).collect();
        let worker = page::worker(&precached);
        files.insert("/sw.js".to_owned(), File::new(SCRIPT, worker));
        let page = page::index(&script, &style, &preloaded);
        let page = filler::padded_markup(&page, "  </body>\n</html>\n", PAGE_SIZE);
        Self {
            page: File::new("text/html;charset=utf-8", page),
            files,
        }
    }
}

fn asset(name: &str, extension: &str) -> String {
    format!(
        "/assets/{name}-{}.{extension}",
        short_hash(&format!("{name}.{extension}"))
    )
}
