"""What keeps workers running elsewhere, as text."""

from pathlib import Path

from scraper.ops.deployment import deployment, unit


def test_a_unit_quotes_what_systemd_would_read_otherwise() -> None:
    text = unit(Path("/opt/a b/python"), Path("/srv/100%"), ["shop", "--stay"])
    assert 'ExecStart="/opt/a b/python" -m scraper work shop --stay\n' in text
    assert "WorkingDirectory=/srv/100%%\n" in text
    assert "Description=Scraper worker %i in /srv/100%%/\n" in text


def test_a_deployment_is_named_as_kubernetes_allows_and_takes_the_store_from_a_secret() -> None:
    text = deployment(["My Shop", "--stay"], "My Shop")
    assert "name: scraper-worker-my-shop\n" in text
    assert 'command: ["python", "-m", "scraper", "work", "My Shop", "--stay"]\n' in text
    assert "name: SCRAPER_STORE" in text and "postgresql://" not in text
