"""Every check there is, for one patient: what is looked at, and who judges it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from fallback_mx.doctor import (
    addresses,
    certificate,
    clock,
    helo,
    listening,
    machine,
    mta_sts,
    mx,
    primary,
    relaying,
    reverse,
    stored,
    tlsa,
)
from fallback_mx.doctor.certificate import CertificateFacts
from fallback_mx.doctor.examination import Check
from fallback_mx.doctor.finding import Finding
from fallback_mx.doctor.listening import ListenerFacts
from fallback_mx.doctor.patient import Patient, Tools, Ward

Look = Callable[[], Awaitable[Sequence[Finding]]]


@dataclass(eq=False)
class Rounds:
    """Made for one examination, on the loop that it runs on."""

    patient: Patient
    tools: Tools
    opening: stored.Opening
    _listener: asyncio.Task[ListenerFacts] | None = field(default=None, init=False)

    def checks(self) -> list[Check]:
        """In the order in which they are told."""
        name = self.patient.hostname
        found = [Check(mx.CHECK, domain, self._mx(domain, ward)) for ward, domain in self._domains()]
        found += [
            Check(addresses.CHECK, name, self._address),
            Check(reverse.CHECK, name, self._reverse),
            Check(helo.CHECK, name, self._helo),
            Check(listening.LISTENER, name, self._listening),
            Check(certificate.CHECK, name, self._certificate),
            Check(tlsa.CHECK, name, self._tlsa),
        ]
        found += [Check(mta_sts.CHECK, domain, self._mta_sts(domain)) for _, domain in self._domains()]
        found += [Check(primary.PRIMARY, ward.name, self._primary(ward)) for ward in self.patient.wards]
        found += [Check(relaying.CHECK, name, self._relay)]
        found += [
            Check(clock.CHECK, clock.SUBJECT, self._clock),
            Check("storage", "the queue", self._storage),
        ]
        return found

    def _domains(self) -> list[tuple[Ward, str]]:
        return [(ward, domain) for ward in self.patient.wards for domain in ward.domains]

    async def _heard(self) -> ListenerFacts:
        """What our listener said: asked once, whoever waits for it."""
        if self._listener is None:
            self._listener = asyncio.create_task(listening.gather(self.patient, self.tools.resolver))
        return await asyncio.shield(self._listener)

    def _mx(self, domain: str, ward: Ward) -> Look:
        async def look() -> list[Finding]:
            return [mx.judge(await mx.gather(domain, self.patient.hostname, ward, self.tools.resolver))]

        return look

    async def _address(self) -> list[Finding]:
        return [addresses.judge(await addresses.gather(self.patient.hostname, self.tools.resolver))]

    async def _reverse(self) -> list[Finding]:
        facts = await reverse.gather(self.patient.hostname, self.patient.sources, self.tools.resolver)
        return reverse.judge(facts, self.patient.hostname)

    async def _helo(self) -> list[Finding]:
        patient = self.patient
        return [helo.judge(await helo.gather(patient.hostname, patient.sources, self.tools.resolver))]

    async def _listening(self) -> list[Finding]:
        facts = await self._heard()
        return [
            *listening.judge_listener(facts),
            *listening.judge_inwards(facts),
            listening.judge_starttls(facts, is_configured=self.patient.certificate is not None),
        ]

    async def _chain(self) -> tuple[tuple[bytes, ...], tuple[bytes, ...], str, ListenerFacts]:
        """What is shown, what is filed, why not, and what else was heard."""
        filed, trouble = certificate.read(self.patient.certificate)
        heard = await self._heard()
        shown = heard.first.certificates if heard.first is not None else ()
        return shown, filed, trouble, heard

    async def _certificate(self) -> list[Finding]:
        shown, filed, trouble, heard = await self._chain()
        facts = CertificateFacts(
            self.patient.hostname,
            datetime.now(UTC),
            self.patient.certificate is not None,
            next(iter(shown), None),
            next(iter(filed), None),
            trouble,
            heard.untrusted,
        )
        return certificate.judge(facts)

    async def _tlsa(self) -> list[Finding]:
        shown, filed, _, _ = await self._chain()
        patient = self.patient
        return [tlsa.judge(await tlsa.gather(patient.hostname, patient.port, shown or filed, self.tools.resolver))]

    def _mta_sts(self, domain: str) -> Look:
        async def look() -> list[Finding]:
            facts = await mta_sts.gather(domain, self.patient.hostname, self.tools.resolver, self.tools.https_port)
            if facts.policy:
                facts = mta_sts.with_trust(facts, (await self._heard()).untrusted)
            return [mta_sts.judge(facts)]

        return look

    def _primary(self, ward: Ward) -> Look:
        async def look() -> list[Finding]:
            facts = await primary.gather(ward, self.patient.hostname, self.tools)
            return [primary.judge_outwards(facts), primary.judge_exemption(facts), primary.judge_spf(facts)]

        return look

    async def _relay(self) -> list[Finding]:
        ward = self.patient.wards[0]
        paths = relaying.attempts(ward.domain, with_tricks=not ward.takes_routing_characters)
        places = self.patient.local_places[:1]
        return [relaying.judge(await relaying.gather(place, paths)) for place in places]

    async def _clock(self) -> list[Finding]:
        return [clock.judge(await clock.gather(self.tools.clock_server))]

    async def _storage(self) -> list[Finding]:
        patient = self.patient
        disk = machine.gather_disk(patient.queue_directory, patient.min_free_octets)
        facts = await asyncio.to_thread(stored.gather, self.opening)
        return [
            machine.judge_disk(disk),
            machine.judge_sqlite(machine.gather_sqlite()),
            *stored.judge(facts, patient.wards, datetime.now(UTC)),
        ]
