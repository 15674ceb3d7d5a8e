"""The words that the demo world is written with: invented companies, common names, and numbers that reach nobody.

Domains end in `.example` or are below example.com, example.net and example.org (RFC 2606). Telephone numbers are from
the ranges that the regulators keep free for fiction: 555-01xx (North America), Ofcom, Bundesnetzagentur, Arcep, PTS,
ACMA and ComReg. No name is meant to be anybody's.
"""

from __future__ import annotations

from typing import NamedTuple


class Country(NamedTuple):
    """`phones`: number templates, `#` is any digit. `spellings`: what people type. `cities`: (city, postcode)."""

    code: str
    share: int
    spellings: tuple[str, ...]
    language: str
    phones: tuple[str, ...]
    cities: tuple[tuple[str, str], ...]
    streets: tuple[str, ...]
    suffixes: tuple[str, ...]


STREETS = (
    "Alder Street",
    "Brickyard Lane",
    "Canal Road",
    "Foundry Row",
    "Kiln Street",
    "Lantern Avenue",
    "Mill Race",
    "Orchard Way",
    "Quarry Road",
    "Ropewalk",
    "Station Road",
    "Tanner's Yard",
)
AREAS = ("206", "212", "303", "312", "404", "415", "503", "512", "602", "617", "702", "713", "718", "802")

COUNTRIES = (
    Country(
        "US",
        44,
        ("United States", "US", "USA", "U.S.A.", "United States of America", "usa"),
        "en",
        tuple(f"+1 {area} 555 01##" for area in AREAS),
        (
            ("Seattle", "98101"),
            ("Denver", "80202"),
            ("Chicago", "60601"),
            ("Austin", "78701"),
            ("Boston", "02108"),
        ),
        STREETS,
        ("Inc.", "LLC", "Corporation", "Corp.", "Co."),
    ),
    Country(
        "CA",
        8,
        ("Canada", "CA", "CAN", "canada"),
        "en",
        ("+1 416 555 01##", "+1 604 555 01##", "+1 514 555 01##"),
        (("Toronto", "M5V 2T6"), ("Vancouver", "V6B 1A1")),
        STREETS,
        ("Inc.", "Ltd."),
    ),
    Country(
        "GB",
        16,
        ("United Kingdom", "UK", "GB", "Great Britain", "U.K."),
        "en",
        ("+44 20 7946 0###", "+44 161 496 0###", "+44 7700 900 ###"),
        (("London", "EC1A 1BB"), ("Manchester", "M1 1AE"), ("Leeds", "LS1 1BA")),
        STREETS,
        ("Ltd", "Limited", "plc", "LLP"),
    ),
    Country(
        "DE",
        14,
        ("Germany", "DE", "Deutschland", "DEU"),
        "de",
        ("+49 30 23125 ###", "+49 89 99998 ###", "+49 40 66969 ###"),
        (("Berlin", "10115"), ("München", "80331"), ("Hamburg", "20095")),
        ("Bäckerstraße", "Gerberweg", "Lindenallee", "Mühlgasse", "Schmiedestraße", "Uferweg"),
        ("GmbH", "AG", "GmbH & Co. KG"),
    ),
    Country(
        "FR",
        7,
        ("France", "FR", "FRA", "france"),
        "fr",
        ("+33 1 99 00 ####",),
        (("Paris", "75002"), ("Lyon", "69002")),
        ("Quai des Tanneurs", "Rue de l'Écluse", "Rue du Moulin", "Allée des Tilleuls"),
        ("SARL", "SAS", "S.A."),
    ),
    Country(
        "SE",
        7,
        ("Sweden", "SE", "SWE", "Sverige"),
        "sv",
        ("+46 8 465 004 ##", "+46 31 390 06 ##", "+46 40 628 04 ##"),
        (("Stockholm", "111 22"), ("Göteborg", "411 04")),
        ("Åkergatan", "Björkvägen", "Hamngatan", "Kvarngatan"),
        ("AB",),
    ),
    Country(
        "AU",
        4,
        ("Australia", "AU", "AUS", "australia"),
        "en",
        ("+61 2 5550 ####",),
        (("Sydney", "2000"), ("Newcastle", "2300")),
        STREETS,
        ("Pty Ltd",),
    ),
)

FIRST_NAMES = tuple(
    """
    Ada Aisha Alan Alma Amir Ana Anders Anika Anton Astrid Aylin Beatriz Ben Birgit Björn Bruno
    Carla Cem Chidi Chloé Claire Dana Daniel Deniz Diego Edith Elena Élodie Emeka Emil Erin Esther
    Eva Farid Fatima Felix Fiona Frida Gabriel Gina Gloria Grace Greta Gunnar Hana Hannah Harald
    Hélène Henry Ibrahim Ida Imani Ingrid Irene Isaac Ivo Jade Jan Jasmin Joel José Joy Judith Julia
    Jürgen Kai Karim Karin Kate Kenji Lara Lars Laura Léa Leo Lina Linh Lotte Louis Lucía Luis
    Magnus Maja Malik Marco Marie Mario Marta Martin Maya Mei Mina Mona Murat Nadine Naomi Nia Nils
    Noor Nora Ola Olga Omar Oscar Otto Paula Per Petra Pia Rafael Rana Raúl Renée Rosa Ruben Sami
    Samuel Sanna Sara Selma Sean Siri Søren Stefan Susan Sven Tara Theo Thérèse Tim Tomás Tove Ulla
    Uma Vera Viktor Wanda Wei Yara Yusuf Zoë
    """.split()
)

LAST_NAMES = tuple(
    """
    Abbott Acheampong Adeyemi Ågren Almeida Andersson Aydın Bakker Barrett Becker Bergström Bianchi
    Blanchard Boateng Brennan Brooks Bühler Carver Castillo Chaudhry Chen Cooper Côté Cruz Dahl
    Dalton Delacroix Demir Diallo Dietrich Doyle Dubois Eastwood Eder Ekström Ellison Eriksen
    Farrell Fernández Fischer Fontaine Forsberg Foster Fournier Garcia Gauthier Gonçalves Grant
    Greene Gruber Haddad Hale Hansson Hartmann Hayes Hendricks Herrera Hoffmann Holm Hughes Ibarra
    Iqbal Ito Iversen Jansson Jensen Kaplan Kaur Keller Kimura Klein Kovač Krüger Lambert
    Larsen Laurent Lehmann Leung Lindberg Lopez Lundgren MacLeod Madsen Marsh Martel Mbeki
    McAllister Mehta Mendoza Meyer Moreau Moreno Müller Murray Nakamura Nguyen Nilsson Nowak Nyström
    O'Brien O'Connor Okafor Olsen Ortega Osei Özkan Pacheco Palmer Park Patel Pereira Petit Quinn
    Ramos Reyes Richter Rinaldi Rosen Roux Salazar Sandoval Schäfer Schmidt Sinclair Singh Söderberg
    Solano Stone Sundström Suzuki Tanaka Thorne Torres Tran Turner Uzun Vance Vargas Vogel Walsh
    Weber Whitfield Winkler Yamada Yıldız Young Zhang Zimmermann
    """.split()
)

COMPANY_STEMS = (
    "Amberfield|Anvil & Ash|Arrowleaf|Basalt Works|Beacon Tide|Birchwood Paper|Blue Lantern|"
    "Bluefin Freight|Boxwood|Bramble Foods|Bright Harbor|Brookstone Labs|Calico Print|Cedar & Vine|"
    "Chalk Hill|Cinder Path|Clearwell|Cobalt Grove|Copperline|Coral Bay Outfitters|Crane & Co Tools|"
    "Crosswind|Daybreak Dental|Deepwater Pumps|Driftwood|Dune Optics|Eastgate Tiles|Elderflower|Emberly|"
    "Evergreen Desk|Falcon Ridge|Fernhill|Fieldstone|Flint & Fable|Foxglove|Frostline|Gable Roofing|"
    "Gingham|Glasshouse|Goldfinch|Granary|Greywater|Hazel Row|Heron Point|Hillcrest Motors|Hollowell|"
    "Inkwell|Iron Gate|Juniper Street|Kestrel Air|Kingfisher|Larkspur|Lighthouse Legal|Lodestar|"
    "Loom & Thread|Maplewood|Marigold|Meadowlark|Millpond|Moss Landing|Nightingale Care|Oakmont|"
    "Old Quarry|Orchard Kitchens|Osprey|Papermoon|Pebble Beach Toys|Pinecone|Pioneer Plastics|"
    "Quillfeather|Rainfall Design|Redbrick|Ridgeway|Riverbend|Rookwood|Saltmarsh|Sandpiper|Silverbirch|"
    "Slate & Stone|Snowdrop|Sparrow Post|Starling|Stonebridge|Summit Cycles|Sunday Coffee|Swallowtail|"
    "Tallgrass|Thistle|Tidewater|Timberline|Tortoise Tea|Umber|Vale & Daughters|Waterwheel|Westerly|"
    "Willow Run|Windmill Bakery|Wintergreen|Woodsmoke|Yarrow"
).split("|")

INDUSTRIES = (
    ("Retail", "retail"),
    ("Manufacturing", "MANUFACTURING"),
    ("Software", "COMPUTER_SOFTWARE"),
    ("Health", "HOSPITAL_HEALTH_CARE"),
    ("Food", "FOOD_BEVERAGES"),
    ("Construction", "CONSTRUCTION"),
    ("Logistics", "LOGISTICS_AND_SUPPLY_CHAIN"),
    ("Legal", "LEGAL_SERVICES"),
)
"""(label, HubSpot's internal name)"""

JOB_TITLES = (
    "Accountant",
    "Buyer",
    "Customer Success Manager",
    "Director of Operations",
    "Founder",
    "Head of Purchasing",
    "IT Manager",
    "Marketing Manager",
    "Office Manager",
    "Operations Lead",
    "Sales Manager",
    "Shop Owner",
    "Store Manager",
    "Warehouse Supervisor",
)

LEAD_SOURCES = ("Website", "Referral", "Trade Show", "Advertisement", "Partner")
LEAD_SOURCE_WORDS = {
    "Website": ("Website", "website", "web", "online form"),
    "Referral": ("Referral", "referral", "word of mouth"),
    "Trade Show": ("Trade Show", "trade show", "event"),
    "Advertisement": ("Advertisement", "ad", "ads"),
    "Partner": ("Partner", "reseller"),
}
LEAD_SOURCES_NOBODY_KNOWS = ("Import 2019", "see notes", "TBD - ask Kim", "LinkedIn??", "misc")

TAGS = ("beta", "catalogue", "events", "newsletter", "product-news", "wholesale", "workshops")
CONTACT_WAYS = ("Email", "Phone", "Post")
PLANS = (("Starter", 1900), ("Team", 4900), ("Business", 19900))
"""(plan, price per month in minor units)"""

NOTES = (
    "Prefers to be called after 14:00.",
    "Asked for the wholesale price list.",
    "Invoices go to accounting in copy.",
    "Met at the spring fair; wants a follow-up in autumn.",
    "Ships to two warehouses, see delivery notes.",
    "Interested in the annual plan.",
)

PLACEHOLDERS = ("Unknown", "N/A", "n/a", "-", "none")
BAD_PHONES = ("555-0142", "call the office", "12345", "020 7946 0018 or 0161 496 0018", "0")
PRIVATE_MAIL = ("mail.example.com", "post.example.net", "inbox.example.org")
