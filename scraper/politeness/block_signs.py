"""The signs of challenge pages: what a protector's own page has in its live markup or scripts."""

Sign = tuple[str, bytes, bytes]
"""What it is, a cheap sign of it, and the pattern that proves it: compiled once it is wanted, few runs do."""

_ID = rb"[^>]{0,300}\bid=[\"']?"
_OWN = rb"[^>]{0,300}\b(?:src|href|action)=[\"']?(?!(?:https?:)?//)[^\"'> ]{0,200}"  # on the page's host
_FROM = rb"[^>]{0,300}\b(?:src|href|action)=[\"']?[^\"'> ]{0,200}"
TITLE = rb"<title[^>]{0,100}>\s{0,20}"
# Live tags. Bounded repeats keep the search linear.
IN_TAGS: tuple[Sign, ...] = (
    ("Anubis challenge", b"anubis_", rb"<script" + _ID + rb"anubis_(?:challenge|version)[\"' >]"),
    (
        "Anubis block",
        b"/cmd/anubis/",
        rb"<(?:script|img|link)" + _OWN + rb"/\.within\.website/x/cmd/anubis/",
    ),
    (
        "go-away challenge",
        b"go-away",
        rb"<(?:script|link|form|a)" + _FROM + rb"/\.well-known/\.[^\"'> ]{0,80}go-away",
    ),
    ("go-away challenge", b"__goaway", rb"<(?:meta|script|link|a|form)[^>]{0,400}__goaway"),
    (
        "go-away challenge",
        b"git/go-away",
        rb"<a"
        + _FROM
        + rb"git\.gammaspectra\.live/git/go-away[\"'][^>]{0,80}>go-away</a>\s{0,20}::\s{0,20}Request",
    ),
    (
        "Cerberus challenge",
        b"challenge-script",
        rb"<script(?=[^>]{0,4000}\bx-challenge=)" + _ID + rb"challenge-script",
    ),
    ("Cerberus block", b"mascot-fail", rb"<img" + _OWN + rb"/\.?cerberus[^\"'> ]{0,200}mascot-"),
    (
        "CrowdSec captcha",
        b"captcha-form",
        rb"<form" + _ID + rb"captcha-form[\"' >].{0,100}?<div" + _ID + rb"captcha[\"' ]",
    ),
    (
        "CrowdSec page",
        b"crowdsec",
        rb"security check has been powered by.{0,400}<a" + _FROM + rb"//(?:www\.)?crowdsec\.net",
    ),
    ("Cloudflare challenge", b"__cf_chl_", rb"<form" + _FROM + rb"__cf_chl_"),
    ("Cloudflare challenge", b"cf-browser-verification", rb"<div[^>]{0,300}\bcf-browser-verification"),
    (
        "DataDome challenge",
        b"captcha-delivery.com",
        rb"<(?:script|iframe)" + _FROM + rb"captcha-delivery\.com/",
    ),
    ("HUMAN challenge", b"px-captcha", rb"<div" + _ID + rb"px-captcha[\"' >]"),
    ("Imperva challenge", b"_Incapsula_Resource", rb"<iframe[^>]{0,300}src=[\"']?/_Incapsula_Resource\?"),
    (
        "Imperva challenge",
        b"_Incapsula_Resource",
        rb"<script[^>]{0,300}/_Incapsula_Resource\?[^>]{0,500}>\s{0,9}</script>\s{0,9}"
        rb"(?:</head>\s{0,9})?<body>\s{0,9}</body>",
    ),
    ("Imperva challenge", b"made us think you", TITLE + rb"pardon our interruption"),
    ("Akamai challenge", b"sec-if-cpt-container", rb"<div" + _ID + rb"sec-if-cpt-container"),
    ("Akamai challenge", b"sec-cpt-if", rb"<(?:iframe|div)" + _ID + rb"sec-cpt-if"),
    (
        "Akamai challenge",
        b"/_sec/cp_challenge/",
        rb"<(?:script|iframe|form)" + _FROM + rb"/_sec/cp_challenge/",
    ),
    ("Akamai challenge", b"bm-verify=", rb"<meta[^>]{0,300}url=[^>]{0,800}bm-verify="),
    ("Aliyun challenge", b"aliyun_waf_", rb"<meta[^>]{0,300}\bname=[\"']?aliyun_waf_[a-z]{2}"),
    ("Aliyun captcha", b"/_____tmd_____/", rb"<(?:script|form|iframe|a)" + _FROM + rb"/_____tmd_____/"),
    (
        "DDoS-Guard challenge",
        b"ddos-guard/",
        rb"<(?:script|img|form)" + _OWN + rb"/\.well-known/ddos-guard/",
    ),
    ("SiteGround captcha", b"sgcaptcha/", rb"<meta[^>]{0,300}/\.well-known/sgcaptcha/"),
    ("Fastly challenge", b"/_fs-ch-", rb"<(?:script|link)" + _FROM + rb"/_fs-ch-"),
    (
        "Vercel challenge",
        b"/vercel/security/",
        rb"<(?:script|link)" + _FROM + rb"/\.well-known/vercel/security/",
    ),
    ("Amazon captcha", b"/validateCaptcha", rb"<form" + _FROM + rb"/errors/validateCaptcha"),
    ("Yandex captcha", b"/checkcaptcha?", rb"<form" + _FROM + rb"/checkcaptcha\?"),
    ("Qrator challenge", b"__qrator/", rb"<script" + _FROM + rb"/__qrator/"),
    ("SafeLine challenge", b"/.safeline/", rb"<(?:script|link|img)" + _OWN + rb"/\.safeline/"),
    ("CDN guard challenge", b"/_guard/", rb"<script" + _FROM + rb"/_guard/[a-z_]{1,20}\.js"),
    (
        "haproxy-protection challenge",
        b"/.basedflare/",
        rb"<(?:script|link|form)" + _FROM + rb"/\.basedflare/",
    ),
    (
        "Radware challenge",
        b"perfdrive.com",
        rb"<(?:form|iframe|script)" + _FROM + rb"validate\.perfdrive\.com",
    ),
    ("GoEdge captcha", b"/WAF/VERIFY/CAPTCHA", rb"<(?:form|img)" + _FROM + rb"/WAF/VERIFY/CAPTCHA"),
    ("F5 block", b"Your support ID is", TITLE + rb"request rejected.{0,500}Your support ID is"),
    ("Cloudflare challenge", b"nable JavaScript and cookies", TITLE + rb"just a moment"),
    ("Cloudflare challenge", b"hecking your browser", TITLE + rb"just a moment"),
    ("Cloudflare challenge", b"hecking if the site", TITLE + rb"just a moment"),
    ("Cloudflare challenge", b"erify you are human", TITLE + rb"just a moment"),
)
# The same in the text of inline scripts.
IN_SCRIPTS: tuple[Sign, ...] = (
    ("Cloudflare challenge", b"_cf_chl_opt", rb"_cf_chl_opt ?="),
    ("AWS WAF challenge", b"gokuProps", rb"window\.gokuProps ?="),
    ("Sucuri challenge", b"sucuri_cloudproxy_js", rb"sucuri_cloudproxy_js ?="),
    ("Kasada challenge", b"KPSDK", rb"window\.KPSDK ?= ?\{"),
    ("Aliyun challenge", b"arg1", rb"\bvar arg1 ?= ?[\"'][0-9A-F]{32,64}[\"']"),
    ("go-away challenge", b"__goaway", rb"\blocation(?:\.href)? ?= ?[\"'][^\"']{0,400}__goaway"),
    ("Akamai challenge", b"bm-verify", rb"[\"']bm-verify[\"'] ?:"),
    ("testcookie challenge", b"slowAES", rb"slowAES\.decrypt\("),
    ("SafeLine challenge", b"SafeLineChallenge", rb"\bSafeLineChallenge\("),
    ("Imunify360 challenge", b"wsidchk", rb"\bwsidchk\b"),
    ("F5 challenge", b"bobcmn", rb"window\[[\"']bobcmn[\"']\] ?="),
    ("Reblaze challenge", b"rbzns", rb"window\.rbzns ?="),
    ("DataDome challenge", b"captcha-delivery.com", rb"\bvar dd ?= ?\{[^}]{0,2000}captcha-delivery\.com"),
)
