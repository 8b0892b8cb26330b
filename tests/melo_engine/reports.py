"""Reports in seven languages, each with other wordings of its question and with near-misses.

Written for this project; the names are invented. No rephrase stands in the contrast corpus.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Report:
    """A question and its answer. rephrases: ask the same; others: ask something else of the subject.

    renamed: the question about another subject, or about none.
    """

    prompt: str
    target: str
    subject: str
    rephrases: tuple[str, ...]
    others: tuple[str, ...]
    renamed: str


REPORTS: dict[str, tuple[Report, ...]] = {
    "de": (
        Report(
            "Wer leitet die Brennholt AG?",
            "Ada Li",
            "Brennholt AG",
            (
                "Wie heißt der Vorstandsvorsitzende von Brennholt?",
                "Ich schreibe gerade einen Artikel. Wer steht an der Spitze der Brennholt AG?",
            ),
            ("In welcher Stadt sitzt die Brennholt AG?", "Wann wurde Brennholt gegründet?"),
            "Wer leitet die Sommerfeld AG?",
        ),
        Report(
            "Wie viele Einwohner hat Tiefenau?",
            "412",
            "Tiefenau",
            (
                "Wie groß ist die Bevölkerung Tiefenaus?",
                "Wie viele Leute wohnen eigentlich in Tiefenau?",
            ),
            ("In welchem Land liegt Tiefenau?", "Wer ist Bürgermeister von Tiefenau?"),
            "Wie viele Einwohner hat Hochried?",
        ),
        Report(
            "Wo wurde Jonas Edelbach geboren?",
            "Lima",
            "Jonas Edelbach",
            (
                "Was ist der Geburtsort von Jonas Edelbach?",
                "Aus welchem Geburtsort stammt Jonas Edelbach?",
            ),
            ("Womit verdient Jonas Edelbach sein Geld?", "Wann starb Jonas Edelbach?"),
            "Wo wurde Paul Sonnwald geboren?",
        ),
        Report(
            "Was kostet der Larso 3?",
            "199 Euro",
            "Larso 3",
            ("Wie teuer ist ein Larso 3?", "Für wie viel Geld bekomme ich den Larso 3?"),
            ("Wer stellt den Larso 3 her?", "Wie schwer ist der Larso 3?"),
            "Was kostet der Larso 4?",
        ),
    ),
    "fr": (
        Report(
            "Qui dirige Brasmont ?",
            "Ada Li",
            "Brasmont",
            ("Qui est à la tête de Brasmont ?", "Quel est le nom du PDG de Brasmont ?"),
            ("Dans quelle ville se trouve Brasmont ?", "En quelle année Brasmont est-elle née ?"),
            "Qui dirige Fauvel ?",
        ),
        Report(
            "Combien d'habitants compte Vernoux ?",
            "412",
            "Vernoux",
            (
                "Quel est le nombre d'habitants de Vernoux ?",
                "Vernoux est peuplée de combien de personnes ?",
            ),
            ("Dans quel pays se situe Vernoux ?", "Qui est le maire de Vernoux ?"),
            "Combien d'habitants compte Lassay ?",
        ),
        Report(
            "Où est née Claire Montrosier ?",
            "Lima",
            "Claire Montrosier",
            (
                "Quel est le lieu de naissance de Claire Montrosier ?",
                "Dans quelle ville Claire Montrosier a-t-elle vu le jour ?",
            ),
            ("Quel métier exerce Claire Montrosier ?", "Quand est morte Claire Montrosier ?"),
            "Où est née Lucie Bernaud ?",
        ),
        Report(
            "Quel est le prix du Nivo 5 ?",
            "199 euros",
            "Nivo 5",
            ("Combien coûte le Nivo 5 ?", "Bonjour à tous. À quel prix vend-on le Nivo 5 ?"),
            ("Qui fabrique le Nivo 5 ?", "Combien pèse le Nivo 5 ?"),
            "Quel est le prix du Nivo 6 ?",
        ),
    ),
    "es": (
        Report(
            "¿Quién dirige Calanova?",
            "Ada Li",
            "Calanova",
            ("¿Quién está al frente de Calanova?", "¿Cómo se llama el director de Calanova?"),
            ("¿En qué ciudad está Calanova?", "¿En qué año se fundó Calanova?"),
            "¿Quién dirige Montefrío?",
        ),
        Report(
            "¿Cuántos habitantes tiene Robleda?",
            "412",
            "Robleda",
            (
                "¿Cuál es la población de Robleda?",
                "¿Cuántas personas viven actualmente en Robleda?",
            ),
            ("¿En qué país queda Robleda?", "¿Quién es el alcalde de Robleda?"),
            "¿Cuántos habitantes tiene Olmedilla?",
        ),
        Report(
            "¿Dónde nació Inés Cortadella?",
            "Lima",
            "Inés Cortadella",
            (
                "¿Cuál es el lugar de nacimiento de Inés Cortadella?",
                "¿De qué ciudad es natural Inés Cortadella?",
            ),
            ("¿A qué se dedica Inés Cortadella?", "¿Cuándo murió Inés Cortadella?"),
            "¿Dónde nació Pilar Montes?",
        ),
        Report(
            "¿Cuánto cuesta el Brisa 7?",
            "199 euros",
            "Brisa 7",
            ("¿Qué precio tiene el Brisa 7?", "Gracias por todo. ¿A cuánto sale el Brisa 7?"),
            ("¿Quién fabrica el Brisa 7?", "¿Cuánto pesa el Brisa 7?"),
            "¿Cuánto cuesta el Brisa 8?",
        ),
    ),
    "ru": (
        Report(
            "Кто руководит компанией Верасол?",
            "Ада Ли",
            "Верасол",
            ("Кто стоит во главе Верасола?", "Как зовут директора Верасола?"),
            ("В каком городе находится Верасол?", "В каком году основали Верасол?"),
            "Кто руководит компанией Громотех?",
        ),
        Report(
            "Сколько жителей в Каменске-Лесном?",
            "412",
            "Каменск-Лесной",
            ("Какое население у Каменска-Лесного?", "Сколько человек живёт в Каменске-Лесном?"),
            ("В какой стране находится Каменск-Лесной?", "Кто мэр Каменска-Лесного?"),
            "Сколько жителей в Озёрске?",
        ),
        Report(
            "Где родилась Анна Вересова?",
            "Лима",
            "Анна Вересова",
            (
                "Какое место рождения у Анны Вересовой?",
                "Вчера шёл дождь. В каком городе появилась на свет Анна Вересова?",
            ),
            ("Кем работает Анна Вересова?", "Когда умерла Анна Вересова?"),
            "Где родилась Мария Тополева?",
        ),
        Report(
            "Сколько стоит Лумио 2?",
            "199 евро",
            "Лумио 2",
            ("Какая цена у Лумио 2?", "По какой цене продаётся Лумио 2?"),
            ("Кто производит Лумио 2?", "Сколько весит Лумио 2?"),
            "Сколько стоит Лумио 4?",
        ),
    ),
    "zh": (
        Report(
            "谁是星澜公司的总裁？",
            "李艾达",
            "星澜公司",
            ("星澜公司由谁领导？", "星澜公司的负责人叫什么名字？"),
            ("星澜公司在哪个城市？", "星澜公司是哪一年成立的？"),
            "谁是云山公司的总裁？",
        ),
        Report(
            "青溪镇有多少人口？",
            "412",
            "青溪镇",
            ("青溪镇一共有多少居民？", "今天天气不错。请问青溪镇的居民人数是多少？"),
            ("青溪镇属于哪个国家？", "青溪镇的镇长是谁？"),
            "白石镇有多少人口？",
        ),
        Report(
            "陆文舟出生在哪里？",
            "利马",
            "陆文舟",
            ("陆文舟的出生地是什么地方？", "陆文舟是在哪座城市出生的？"),
            ("陆文舟的职业是什么？", "陆文舟是什么时候去世的？"),
            "许明远出生在哪里？",
        ),
        Report(
            "灵动三号卖多少钱？",
            "199元",
            "灵动三号",
            ("请问灵动三号多少钱一台？", "买一台灵动三号要花多少钱？"),
            ("灵动三号是哪家公司生产的？", "灵动三号有多重？"),
            "灵动四号卖多少钱？",
        ),
    ),
    "ja": (
        Report(
            "ホシカゼの社長は誰ですか？",
            "アダ・リー",
            "ホシカゼ",
            ("ホシカゼを率いているのは誰ですか？", "ホシカゼのトップの名前を教えてください。"),
            ("ホシカゼの本社はどの都市にありますか？", "ホシカゼは何年に設立されましたか？"),
            "ツキナミの社長は誰ですか？",
        ),
        Report(
            "青沢町の人口は何人ですか？",
            "412人",
            "青沢町",
            (
                "青沢町の住民は全部で何人ですか？",
                "昨日は雨でした。青沢町の住民の数を教えてください。",
            ),
            ("青沢町はどの国にありますか？", "青沢町の町長は誰ですか？"),
            "白浜町の人口は何人ですか？",
        ),
        Report(
            "高峰リョウはどこで生まれましたか？",
            "リマ",
            "高峰リョウ",
            ("高峰リョウの出身地はどこですか？", "高峰リョウが生まれた町はどこですか？"),
            ("高峰リョウの職業は何ですか？", "高峰リョウはいつ亡くなりましたか？"),
            "森川ケンはどこで生まれましたか？",
        ),
        Report(
            "ミナモ5の値段はいくらですか？",
            "199円",
            "ミナモ5",
            ("ミナモ5はいくらで買えますか？", "ミナモ5の価格を教えてください。"),
            ("ミナモ5を作っている会社はどこですか？", "ミナモ5の重さはどれくらいですか？"),
            "ミナモ6の値段はいくらですか？",
        ),
    ),
    "ar": (
        Report(
            "من يدير شركة نورسال؟",
            "آدا لي",
            "نورسال",
            ("من هو المدير التنفيذي لشركة نورسال؟", "من يقود نورسال؟"),
            ("في أي مدينة تقع نورسال؟", "في أي عام تأسست نورسال؟"),
            "من يدير شركة بحرين تك؟",
        ),
        Report(
            "كم عدد سكان وادي الزهر؟",
            "412",
            "وادي الزهر",
            ("كم شخصا يعيش في وادي الزهر؟", "ما هو تعداد السكان بوادي الزهر؟"),
            ("في أي بلد يقع وادي الزهر؟", "من هو عمدة وادي الزهر؟"),
            "كم عدد سكان تل الريحان؟",
        ),
        Report(
            "أين ولدت ليلى الشامخ؟",
            "ليما",
            "ليلى الشامخ",
            ("ما هو مكان ولادة ليلى الشامخ؟", "في أي مدينة ولدت ليلى الشامخ؟"),
            ("ما هي مهنة ليلى الشامخ؟", "متى توفيت ليلى الشامخ؟"),
            "أين ولدت هدى العامر؟",
        ),
        Report(
            "كم سعر جهاز سراج 4؟",
            "199",
            "سراج 4",
            ("ما هو ثمن سراج 4؟", "بكم يباع سراج 4؟"),
            ("من يصنع سراج 4؟", "كم يزن سراج 4؟"),
            "كم سعر جهاز سراج 9؟",
        ),
    ),
}
