//! The page and the small files beside it. The page works: it shows the deals that the API answers with.

use std::fmt::Write as _;

/// The main script, without its padding.
pub(super) const SCRIPT: &str = r#"const root = document.getElementById("root");
const element = (name, text, className) => {
  const made = document.createElement(name);
  if (text) made.textContent = text;
  if (className) made.className = className;
  return made;
};
const order = { "/hot": "highest_discount", "/popular": "most_popular", "/talking": "most_commented" };
const sortBy = order[location.pathname] || "newest";
const response = await fetch(`/api/deals?limit=24&sortBy=${sortBy}`);
const header = element("header");
header.append(element("h1", "Deals247"));
const links = element("nav");
for (const path of ["/", "/hot", "/popular", "/talking", "/about"]) {
  const link = element("a", path === "/" ? "new" : path.slice(1));
  link.href = path;
  links.append(link);
}
header.append(links);
const list = element("main");
if (response.ok) {
  const { deals, total } = await response.json();
  header.append(element("p", `${total} deals, through ${location.host}`));
  for (const deal of deals) {
    const card = element("article");
    card.append(element("b", `-${deal.discount}%`), element("h2", deal.title), element("small", deal.store));
    card.append(element("strong", deal.discounted_price), element("s", deal.original_price));
    list.append(card);
  }
} else {
  list.append(element("p", `The API answered ${response.status}.`));
}
root.replaceChildren(header, list);
"#;

/// The style sheet, without its padding.
pub(super) const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;margin:0;background:#f6f5f8;color:#221}\n\
header{background:#4b2a7a;color:#fff;padding:1rem 2rem}header h1{margin:0}header a{color:#fd9;margin-right:1rem}\n\
main{display:grid;grid-template-columns:repeat(auto-fill,minmax(15rem,1fr));gap:1rem;padding:2rem}\n\
article{background:#fff;border-radius:.5rem;padding:1rem;box-shadow:0 1px 3px #0003}article h2{font-size:1rem}\n\
article b{float:right;color:#c40}article small{display:block}article strong{margin-right:.5rem}\n";

pub(super) const ICON: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 64 64\">\n\
<rect width=\"64\" height=\"64\" rx=\"12\" fill=\"#4b2a7a\"/>\n\
<text x=\"32\" y=\"42\" font-size=\"26\" font-family=\"sans-serif\" fill=\"#fd9\" text-anchor=\"middle\">247</text>\n";

pub(super) const MANIFEST: &str = "{\"name\":\"Deals247\",\"short_name\":\"Deals247\",\"start_url\":\"/\",\"display\":\"standalone\",\
\"background_color\":\"#f6f5f8\",\"theme_color\":\"#4b2a7a\",\
\"icons\":[{\"src\":\"/pwa-icon.svg\",\"sizes\":\"any\",\"type\":\"image/svg+xml\"}]}\n";

/// Registers nothing: a service worker would stay in the browser when the demonstration is over.
pub(super) const REGISTER_WORKER: &str =
    "// The application registers /sw.js here; the demonstration leaves nothing behind in your browser.\n";

/// The page, up to its end.
pub(super) fn index(script: &str, style: &str, preloaded: &[String]) -> String {
    let preloads = preloaded.iter().fold(String::new(), |mut text, path| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "    <link rel=\"modulepreload\" crossorigin href=\"{path}\">");
        text
    });
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n  <head>\n    <meta charset=\"UTF-8\">\n\
         \x20   <meta name=\"viewport\" content=\"width=device-width, initial-scale=1.0\">\n\
         \x20   <title>Deals247: deals around the clock</title>\n\
         \x20   <link rel=\"icon\" type=\"image/svg+xml\" href=\"/pwa-icon.svg\">\n\
         \x20   <script type=\"module\" crossorigin src=\"{script}\"></script>\n{preloads}\
         \x20   <link rel=\"stylesheet\" crossorigin href=\"{style}\">\n\
         \x20   <link rel=\"manifest\" href=\"/manifest.webmanifest\">\n\
         \x20   <script src=\"/registerSW.js\" defer></script>\n\
         \x20 </head>\n  <body>\n    <div id=\"root\"></div>\n"
    )
}

/// The service worker: the list of what the application's would fetch at once.
pub(super) fn worker(precached: &[&str]) -> String {
    let list = precached.iter().fold(String::new(), |mut text, path| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{{url:\"{path}\",revision:null}},");
        text
    });
    format!("self.precached=[{list}{{url:\"index.html\",revision:null}}];\n")
}
