from alembic import context

from fallback_mx.settlement.schema import metadata
from mxqueue.migrate import run

run(context, metadata)  # type: ignore[arg-type]  # alembic's proxy module stands for the EnvironmentContext
