# ruff: noqa: E501 - markup is set as it comes
"""Walls as their components write them, each by its own marks and no more: (what, component and version, page).

The marks were read in the components' own sources or on their answers: ids, paths, attribute names.
"""

# How Anubis says "Making sure you're not a bot!" in its languages (1.2x): the title is no sign of anything.
ANUBIS_TITLES = {
    "bg": "Уверяваме се, че не сте бот!", "cs": "Ujišťujeme se, že nejste robot!", "de": "Ich stelle sicher, dass du kein Bot bist!",
    "es": "¡Asegurándonos de que no eres un bot!", "et": "Veendun, et sa pole robot!", "eu": "Bot bat ez zarela ziurtatzen",
    "fi": "Varmistetaan, ettet ole botti!", "fil": "Sinisiguro na hindi ka bot!", "fr": "Vérification que vous n'êtes pas un robot !",
    "hr": "Provjeravamo da niste bot!", "is": "Staðfesti að þú sért ekki vélmenni!", "it": "Verifica che non sei un bot!",
    "ja": "あなたがボットでないことを確認しています！", "lt": "Tikriname, ar nesate robotas!", "nb": "Sikrer at du ikke er en robot!",
    "nl": "Controleren dat je geen bot bent!", "nn": "Sjekkar at du ikkje er ein robot!", "pl": "Sprawdzamy, czy nie jesteś botem!",
    "pt-BR": "Certificando-se de que você não é um robô!", "ru": "Проверяем, что вы не бот!", "sv": "Säkerställer att du inte är en bot!",
    "th": "กำลังตรวจสอบว่าคุณไม่ใช่บอท!", "tr": "Bot olmadığınızdan emin oluyoruz!", "uk": "Перевіряємо, що ви не бот!",
    "vi": "Đảm bảo bạn không phải bot!", "zh-CN": "正在确认你是不是机器人！", "zh-TW": "正在確認你是不是機器人！",
}  # fmt: skip


def anubis(language: str, title: str) -> str:
    return (
        f'<!doctype html><html lang="{language}"><head><title>{title}</title>'
        '<script id="anubis_version" type="application/json">"v1.2"</script>'
        '<script id="anubis_challenge" type="application/json">{"challenge":{"id":"x"}}</script></head>'
        '<body id="top"><main><h1 id="title">x</h1><p id="status">...</p></main></body></html>'
    )


ACW = "A1B2C3D4E5" * 4
WALLS = {
    **{f"Anubis challenge {language}": anubis(language, title) for language, title in ANUBIS_TITLES.items()},
    "Anubis deny": '<!doctype html><title>Oh noes!</title><img id="image" alt="Sad" '
    'src="/.within.website/x/cmd/anubis/static/img/reject.webp?cacheBuster=v1.2"><p>Access Denied.</p>',
    "Anubis deny under a path": '<title>Ojemine!</title><img src="/git/.within.website/x/cmd/anubis/static/img/reject.webp">',
    "Anubis meta refresh": '<title>Bitte warten</title><script id="anubis_version" type="application/json">"v1.2"</script>'
    '<meta http-equiv="refresh" content="2; url=/.within.website/x/cmd/anubis/api/pass-challenge?id=1">',
    "go-away meta refresh": '<title>Checking you are not a bot</title><meta http-equiv="refresh" '
    'content="0; url=/?__goaway_challenge=meta&amp;__goaway_id=1">',
    "go-away script": "<title>Prüfung</title><p>Loading</p>"
    '<script async type="module" src="/.well-known/.git.example.org/git/go-away/cmd/go-away/challenge/js/script.mjs?cacheBust=1"></script>',
    "go-away redirect by script": "<title>x</title><script type='text/javascript'>window.location = "
    '"/.well-known/.x/verify-challenge?__goaway_token=1";</script>',
    "go-away page": '<title>x</title><link rel="preload" href="/a?__goaway_referer=1" as="document"><p>Wait</p>',
    "Aliyun acw": f"<html><script>var arg1='{ACW}';var _0x4=['x'];setTimeout('reload()',2)</script></html>",
    "Aliyun waf": '<!doctypehtml><html><head><meta name="aliyun_waf_aa" content="ab12"><meta name="aliyun_waf_bb" '
    'content="cd34"></head><body><script>var f=1</script></body></html>',
    "Aliyun captcha": '<!DOCTYPE html><title>x</title><script src="//g.example/a.js"></script>'
    '<form action="https://e.org/p/_____tmd_____/punish?x5secdata=1"></form>',
    "Cerberus": '<!DOCTYPE html><html class="noscript-hidden"><title>Security Check</title><h1 id="title">x</h1>'
    '<script async defer type="module" id="challenge-script" x-meta="{&#34;baseURL&#34;:&#34;/.cerberus&#34;}" '
    'x-challenge="{&#34;challenge&#34;:&#34;ab&#34;}" src="/.cerberus/static/main.mjs"></script></html>',
    "Cerberus block": '<!DOCTYPE html><title>Access Restricted</title><img id="mascot" src="/.cerberus/static/img/mascot-fail.png">',
    "CrowdSec captcha": '<!DOCTYPE html><html><title>CrowdSec Captcha</title><form action="" method="POST" class="flex" '
    'id="captcha-form"><div id="captcha" class="g-recaptcha" data-sitekey="k" data-callback="captchaCallback"></div></form>'
    "<p>This security check has been powered by</p>"
    '<a href="https://crowdsec.net/" target="_blank">CrowdSec</a></html>',
    "CrowdSec ban": "<!DOCTYPE html><html><title>CrowdSec Ban</title><p>This security check has been powered by</p>"
    '<a href="https://crowdsec.net/" target="_blank">CrowdSec</a></html>',
    "Akamai crypto challenge": '<!DOCTYPE html><html><title>shop.example</title><div id="sec-if-cpt-container" class="c">'
    '<iframe id="sec-cpt-if" provider="crypto" src="/_sec/cp_challenge/ak-challenge-4-3.htm" data-duration=5></iframe></div></html>',
    "Akamai challenge script": '<html><title>x</title><script src="/_sec/cp_challenge/sec-4-3.js"></script></html>',
    "Akamai interstitial": """<html><title>&nbsp;</title><meta http-equiv="refresh" content="5; URL='/?bm-verify=AAQ'"></html>""",
    "Akamai interstitial without meta": """<html><title>x</title><script>fetch("/_sec/verify",{"bm-verify": "AAQ"})</script></html>""",
    "DataDome": "<html><title>shop.example</title><p>Please enable JS</p><script>var dd={'rt':'c','cid':'A','host':"
    "'geo.captcha-delivery.com'}</script><script src='https://ct.captcha-delivery.com/c.js'></script></html>",
    "Cloudflare in German": "<html><title>Nur einen Moment...</title><script>(function(){window._cf_chl_opt={cvId:'3'}})()</script></html>",
    "SafeLine": '<html><title>安全检测</title><link rel="icon" href="/.safeline/static/favicon.png"><script>SafeLineChallenge("a",{})</script></html>',
    "CDN guard": '<!DOCTYPE html><html><title>x</title><script src="/_guard/html.js?js=click_html"></script></html>',
    "testcookie": '<html><body><script src="/aes.js"></script><script>document.cookie="__test="+toHex(slowAES.decrypt(c,2,a,b))</script></html>',
    "haproxy-protection": '<!DOCTYPE html><html><title>Hold on</title><script src="/.basedflare/js/argon2.min.js"></script></html>',
    "Vercel": '<html><title>Vercel Sicherheitsprüfung</title><script src="/.well-known/vercel/security/static/challenge.v2.min.js"></script></html>',
    "F5": '<html><title>x</title><script>window["bobcmn"] = "10101"</script><noscript>Please enable JavaScript</noscript></html>',
    "captcha alone": '<html><title>Security Check</title><form><div class="g-recaptcha" data-sitekey="k"></div><button>Go</button></form></html>',
}
